//! Data and position in one script: the position moves with the commands before it or not at all, and only for the host with the
//! newest fence.

use std::time::Duration;

use super::{
    RedisSink, chunk_of,
    rights::{Writer, rights},
    script::{Look, Reply},
};
use crate::{
    checkpoint::{
        About, Claim, Found, Holder, fenced,
        redis::{POSITION, millis},
    },
    error::{Code, Fault},
    position::{Position, Positions},
    sink::{
        Keeper, Writes, Wrote,
        ledger::{Ledger, Plan, gone},
    },
};

impl RedisSink {
    /// Writes a batch in chunks, each with the position behind it.
    pub(super) async fn write_keeping(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        self.make_sure().await?;
        if self.connector.is_unreplicated() {
            // What is stored may be on this server alone. Renewing the lease is a write behind it, on this connection.
            self.renew().await?;
            let mut connection = self.connector.connection().await?;
            self.connector.replicated(&mut connection).await?;
        }
        let partition = writes.partition().clone();
        let Some(to) = writes.position().cloned() else { return Err(no_positions()) };
        match self.ledger.as_mut().map(|ledger| ledger.plan(writes)) {
            Some(Plan::Write) if self.ledger.as_ref().is_some_and(|ledger| ledger.passed_others(&partition)) => {
                self.settle().await?;
            }
            Some(Plan::Write) => {}
            Some(Plan::Done) => return Ok(Wrote::All),
            None => return Err(no_positions()),
        }
        let refused = writes.refused().len();
        let (pending, commands) = self.prepare(writes);
        // What cannot be written at all is in the dead letter before anything is written.
        if writes.refused().len() > refused {
            return Ok(Wrote::Refused);
        }
        let mut connection = self.connector.connection().await?;
        self.memory.wait_for_room(&mut self.connector, &mut connection).await?;
        let mut done = 0;
        loop {
            let rest = pending.get(done..).unwrap_or_default();
            let count = chunk_of(rest);
            let (chunk, ours) = (rest.get(..count), commands.get(done..done + count));
            let (chunk, ours) = (chunk.unwrap_or_default(), ours.unwrap_or_default());
            let last = done + count == pending.len();
            let end = match chunk.last().and_then(|(_, delivery)| delivery.change.position.clone()) {
                Some(position) if !last => position,
                // The batch's own position is behind what it has for other sinks too.
                _ => to.clone(),
            };
            let values = self.move_to(&partition, &end)?;
            let record = self.record.key.clone();
            match self.run(&mut connection, Look::Record(&record, &values), ours).await? {
                // An attempt whose answer was lost has done it.
                Reply::At(Some(position)) if position == end => {}
                Reply::At(position) => return Err(self.elsewhere(position, &partition)),
                Reply::Fence(fence, holder) => return self.other_fence(fence, holder.as_ref()),
                Reply::Type(wrong) => {
                    self.refuse_types(writes, &wrong, chunk, ours);
                    return Ok(Wrote::Refused);
                }
                Reply::Ok | Reply::Late(_) => {}
            }
            self.connector.replicated(&mut connection).await?;
            for (index, _) in chunk {
                writes.confirm(*index);
            }
            if let Some(ledger) = self.ledger.as_mut() {
                ledger.moved(&partition, &end);
            }
            done += count;
            if last {
                return Ok(Wrote::All);
            }
        }
    }

    /// What the script is told of the record: fence, field, position it must have, position it gets, lease.
    fn move_to(&self, partition: &str, to: &Position) -> Result<[String; 5], Fault> {
        let Some(ledger) = self.ledger.as_ref() else { return Err(no_positions()) };
        let from = ledger.stored(partition).map(Position::to_hex).unwrap_or_default();
        Ok([
            ledger.fence.to_string(),
            [POSITION, partition].concat(),
            from,
            to.to_hex(),
            millis(ledger.lease).to_string(),
        ])
    }

    /// After a lost answer or connection: what does the server have?
    async fn make_sure(&mut self) -> Result<(), Fault> {
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        if !ledger.unsure && self.connector.is_connected() {
            return Ok(());
        }
        let place = self.record.place(&self.connector);
        let (fence, lease) = (ledger.fence, ledger.lease);
        let Some(mut found) = self.record.read(&mut self.connector).await? else { return Err(gone(&place)) };
        if found.fence > fence {
            return Err(fenced(&self.record.pipeline, &place, found.held.map(|(holder, _)| holder).as_ref()));
        }
        if found.fence < fence {
            // The server lost the writes that made us the holder: nobody else took over, so we take it again.
            let Some(me) = &self.me else { return Err(no_positions()) };
            found = match self.record.claim(&mut self.connector, me, lease, fence).await? {
                Claim::Taken(found) => found,
                Claim::Held(holder, _) => return Err(fenced(&self.record.pipeline, &place, Some(&holder))),
            };
        }
        ledger.take_up(&found, &place)
    }

    /// The fence is not ours: another host took over, or the server lost the write that made us the holder.
    fn other_fence(&mut self, fence: u64, holder: Option<&Holder>) -> Result<Wrote, Fault> {
        let place = self.record.place(&self.connector);
        match self.ledger.as_mut() {
            Some(ledger) if fence < ledger.fence => {
                ledger.unsure = true;
                Err(Fault::transient(Code::PositionBehind, format!("{place} lost its last writes: it is read again")))
            }
            _ => Err(fenced(&self.record.pipeline, &place, holder)),
        }
    }

    /// The position is neither the one we know nor the one we write: the record is read again, and tells which way it went.
    fn elsewhere(&mut self, position: Option<Position>, partition: &str) -> Fault {
        let place = self.record.place(&self.connector);
        if position.is_none() && self.ledger.as_ref().is_some_and(|ledger| ledger.stored(partition).is_some()) {
            return gone(&place);
        }
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.unsure = true;
        }
        Fault::transient(
            Code::PositionBehind,
            format!("the position in {place} is not the one that is known: it is read again"),
        )
    }
}

fn no_positions() -> Fault {
    Fault::fatal(
        Code::Internal,
        "a sink was to keep positions that it was not given; this is a defect of tidegate, please report it",
    )
}

impl Keeper for RedisSink {
    fn place(&self) -> String {
        self.record.place(&self.connector)
    }

    async fn claim(&mut self, me: &Holder, lease: Duration) -> Result<Claim, Fault> {
        self.connector.needs(rights(&self.config, Writer { record: Some(&self.record.key), late: false }));
        let floor = self.ledger.as_ref().map_or(0, |ledger| ledger.fence);
        let claim = self.record.claim(&mut self.connector, me, lease, floor).await?;
        if let Claim::Taken(found) = &claim {
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
        self.make_sure().await?;
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        self.record.renew(&mut self.connector, ledger.fence, ledger.lease).await
    }

    async fn settle(&mut self) -> Result<(), Fault> {
        self.make_sure().await?;
        let Some(passed) = self.ledger.as_ref().map(Ledger::passed) else { return Err(no_positions()) };
        for (partition, position) in &passed {
            let values = self.move_to(partition, position)?;
            let (record, mut connection) = (self.record.key.clone(), self.connector.connection().await?);
            match self.run(&mut connection, Look::Record(&record, &values), &[]).await? {
                Reply::Ok => {}
                Reply::At(Some(stored)) if stored == *position => {}
                Reply::Fence(fence, holder) => return self.other_fence(fence, holder.as_ref()).map(drop),
                Reply::At(stored) => return Err(self.elsewhere(stored, partition)),
                Reply::Type(_) | Reply::Late(_) => {}
            }
            if let Some(ledger) = self.ledger.as_mut() {
                ledger.moved(partition, position);
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
