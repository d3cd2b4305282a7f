//! Data and position in one transaction.
//!
//! A host that was killed may leave a transaction open, which keeps its documents locked until the server ends it, after a
//! minute by default. So the record names the session of its holder, and who takes over ends that session first.

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::{
    ClientSession,
    options::{ReadConcern, TransactionOptions},
};

use super::{MongodbSink, run::Failure, statements::Statements};
use crate::{
    batch::Delivery,
    checkpoint::{About, Claim, Found, Holder, fenced, mongodb::MongoRecord},
    error::{Code, Fault},
    mongodb::PATIENCE,
    position::{Position, Positions},
    sink::{
        Keeper, Writes, Wrote,
        ledger::{Ledger, Plan, gone},
    },
};

impl MongodbSink {
    pub(super) async fn write_keeping(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        self.make_sure().await?;
        if writes.position().is_none() {
            return Err(no_positions());
        }
        match self.ledger.as_mut().map(|ledger| ledger.plan(writes)) {
            Some(Plan::Write) => {
                if self.ledger.as_ref().is_some_and(|ledger| ledger.passed_others(writes.partition())) {
                    self.settle().await?;
                }
                self.write_parts(writes).await
            }
            Some(Plan::Done) => Ok(Wrote::All),
            None => Err(no_positions()),
        }
    }

    /// Writes data and the position behind it, or neither; returns the deliveries whose document is not there.
    pub(super) async fn transact(
        &mut self,
        statements: &Statements,
        part: &[(usize, Delivery<'_>)],
        partition: &str,
        to: Option<&Position>,
    ) -> Result<Vec<usize>, Failure> {
        self.run_outside(statements, part).await?;
        let (Some(to), Some(mut session)) = (to, self.session.take()) else { return Err(no_positions().into()) };
        let done = self.transact_in(&mut session, statements, part, Some((partition, to))).await;
        self.session = Some(session);
        match (&done, self.ledger.as_mut()) {
            (Ok(_), Some(ledger)) => ledger.moved(partition, to),
            (Err(Failure::Fault(_)), Some(ledger)) => ledger.unsure = true,
            _ => {}
        }
        done
    }

    /// Writes data in a transaction, for a sink that keeps no position.
    pub(super) async fn transact_alone(
        &mut self,
        statements: &Statements,
        part: &[(usize, Delivery<'_>)],
    ) -> Result<Vec<usize>, Failure> {
        self.run_outside(statements, part).await?;
        let client = self.connector.client().await?;
        let mut session = self.connector.answer(client.start_session().into_future()).await?;
        self.transact_in(&mut session, statements, part, None).await
    }

    async fn transact_in(
        &self,
        session: &mut ClientSession,
        statements: &Statements,
        part: &[(usize, Delivery<'_>)],
        position: Option<(&str, &Position)>,
    ) -> Result<Vec<usize>, Failure> {
        let mut options = TransactionOptions::default();
        options.read_concern = Some(ReadConcern::snapshot());
        options.write_concern = Some(self.concern.option.clone());
        session.start_transaction().with_options(options).await.map_err(|error| self.connector.fault(&error))?;
        let done = match position {
            // First, so that it also comes first in a change stream of the target.
            Some((partition, to)) => self.move_position(session, partition, to).await,
            None => Ok(()),
        };
        let done = match done {
            Ok(()) => {
                let client = session.client();
                let commands = statements.commands.iter().filter(|command| !command.shape.is_outside());
                self.run(&client, commands, part, Some(&mut *session), true).await
            }
            Err(failure) => Err(failure),
        };
        let done = match done {
            Ok(missing) => self.commit(session).await.map(|()| missing),
            Err(failure) => Err(failure),
        };
        if done.is_err() {
            // Best effort: the next transaction of the session ends this one too.
            let _ = tokio::time::timeout(Duration::from_secs(1), session.abort_transaction()).await;
        }
        done
    }

    async fn move_position(&self, session: &mut ClientSession, partition: &str, to: &Position) -> Result<(), Failure> {
        let Some(ledger) = &self.ledger else { return Err(no_positions().into()) };
        let (name, value) = MongoRecord::position(partition, to);
        let mut filter = self.record.filter(ledger.fence);
        let from = ledger.stored(partition).map_or(Bson::Null, |position| position.to_hex().into());
        filter.insert(name.clone(), from);
        let mut set = MongoRecord::lease(ledger.lease);
        set.insert(name, value);
        let records = self.record.collection_in_transaction(&session.client());
        let update = records.update_one(filter, vec![doc! { "$set": set }]).session(&mut *session);
        if self.connector.answer(update.into_future()).await?.matched_count != 1 {
            let message =
                format!("the position in {} is not the one that is known", self.record.place(&self.connector));
            return Err(Fault::transient(Code::PositionBehind, format!("{message}: it is read again")).into());
        }
        Ok(())
    }

    async fn commit(&self, session: &mut ClientSession) -> Result<(), Failure> {
        match tokio::time::timeout(PATIENCE, session.commit_transaction().into_future()).await {
            Ok(committed) => committed.map_err(|error| Failure::Fault(self.connector.fault(&error))),
            Err(_) => {
                let message = format!("MongoDB at {} did not answer to the commit in time", self.connector.hosts());
                Err(Fault::transient(Code::MongoUnreachable, message).into())
            }
        }
    }

    /// After a failure: what does the server have?
    async fn make_sure(&mut self) -> Result<(), Fault> {
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        if !ledger.unsure {
            return Ok(());
        }
        let Some(found) = self.record.read(&mut self.connector).await? else {
            return Err(gone(&self.record.place(&self.connector)));
        };
        let place = self.record.place(&self.connector);
        if found.fence != ledger.fence {
            return Err(fenced(&self.record.pipeline, &place, found.held.map(|(holder, _)| holder).as_ref()));
        }
        ledger.take_up(&found, &place)
    }

    /// Ends what an earlier holder left open, if nobody holds the record any more; false when somebody does. Then the record must not be
    /// asked for: should the lease run out just now, the claim would wait behind the transaction of a holder that is frozen, for as long as
    /// the server lets it live.
    async fn end_session(&mut self, me: &Holder) -> Result<bool, Fault> {
        let client = self.connector.client().await?;
        let records = self.record.collection(&client);
        let asked = records.find_one(doc! { "_id": &self.record.id });
        let Some(document) = self.connector.answer(asked.into_future()).await? else { return Ok(true) };
        let held_by_other =
            document.get_document("holder").is_ok_and(|holder| holder.get_str("id").is_ok_and(|id| id != me.id));
        let Ok(session) = document.get_document("session") else { return Ok(true) };
        let admin = client.database("admin");
        if held_by_other {
            // The lease is by the server's clock: one of ours that goes ahead would end the sessions of a host that is well.
            let hello = self.connector.answer(admin.run_command(doc! { "hello": 1 }).into_future()).await?;
            let expired = match (document.get_datetime("expires"), hello.get_datetime("localTime")) {
                (Ok(expires), Ok(now)) => expires < now,
                _ => true,
            };
            if !expired {
                return Ok(false);
            }
        }
        let killed = admin.run_command(doc! { "killSessions": [session.clone()] });
        if let Err(fault) = self.connector.answer(killed.into_future()).await {
            if fault.is_transient() {
                return Err(fault);
            }
            tracing::debug!(
                event = "session_kept",
                "the session of the last holder cannot be ended: {}",
                fault.message
            );
        }
        Ok(true)
    }
}

fn no_positions() -> Fault {
    Fault::fatal(
        Code::Internal,
        "a sink was to keep positions that it was not given; this is a defect of tidegate, please report it",
    )
}

impl Keeper for MongodbSink {
    fn place(&self) -> String {
        self.record.place(&self.connector)
    }

    async fn claim(&mut self, me: &Holder, lease: Duration) -> Result<Claim, Fault> {
        if !self.end_session(me).await?
            && let Some((holder, left)) = self.record.read(&mut self.connector).await?.and_then(|found| found.held)
        {
            return Ok(Claim::Held(holder, left));
        }
        let client = self.connector.client().await?;
        let session = self.connector.answer(client.start_session().into_future()).await?;
        let floor = self.ledger.as_ref().map_or(0, |ledger| ledger.fence);
        let claim = self.record.claim(&mut self.connector, me, lease, floor).await?;
        if let Claim::Taken(found) = &claim {
            let set = doc! { "session": Document::clone(session.id()) };
            let records = self.record.collection(&client);
            let update = records.update_one(self.record.filter(found.fence), doc! { "$set": set });
            self.connector.answer(update.into_future()).await?;
            self.session = Some(session);
            self.ledger = Some(Ledger::new(found, lease));
            self.me = Some(me.clone());
        }
        Ok(claim)
    }

    async fn read(&mut self) -> Result<Option<Found>, Fault> {
        self.record.read(&mut self.connector).await
    }

    async fn begin(&mut self, about: &About, positions: &Positions) -> Result<(), Fault> {
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        self.record.store(&mut self.connector, ledger.fence, ledger.lease, about, positions).await?;
        ledger.set(positions);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Fault> {
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        self.record.renew(&mut self.connector, ledger.fence, ledger.lease).await
    }

    async fn settle(&mut self) -> Result<(), Fault> {
        self.make_sure().await?;
        let Some(passed) = self.ledger.as_ref().map(Ledger::passed) else { return Err(no_positions()) };
        for (partition, position) in &passed {
            match self.transact(&Statements::default(), &[], partition, Some(position)).await {
                Ok(_) => {}
                Err(Failure::Fault(fault)) => return Err(fault),
                // It has no data that could be refused.
                Err(_) => return Err(no_positions()),
            }
        }
        Ok(())
    }

    async fn release(&mut self) {
        let Some(ledger) = self.ledger.take() else { return };
        if let Err(fault) = self.record.release(&mut self.connector, ledger.fence).await {
            tracing::debug!(event = "lease_kept", "the lease runs out by itself: {}", fault.message);
        }
    }

    async fn remove(&mut self) -> Result<(), Fault> {
        self.record.remove(&mut self.connector).await
    }
}
