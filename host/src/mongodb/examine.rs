//! What a MongoDB is, and whether the user may do there what is needed: found out without writing anything.

use bson::{Bson, Document, doc};

use super::MongoConnector;
use crate::{
    doctor::Finding,
    error::{Code, Fault},
};

/// What is needed of a user: actions on a database, or on all of them.
#[derive(Clone, Debug)]
pub(crate) struct Needs<'a> {
    /// As MongoDB calls them.
    pub(crate) actions: &'a [&'a str],
    /// None: on any database.
    pub(crate) database: Option<&'a str>,
    /// A role that has them.
    pub(crate) role: &'a str,
}

impl MongoConnector {
    /// Connects, and asks what the server is and what the user may do. `transactions` are needed where a position moves with the data.
    pub(crate) async fn examine(&mut self, transactions: bool, needs: &[Needs<'_>]) -> Vec<Finding> {
        match self.look(transactions, needs).await {
            Ok(findings) => findings,
            Err(fault) => vec![Finding::from(&fault)],
        }
    }

    async fn look(&mut self, transactions: bool, needs: &[Needs<'_>]) -> Result<Vec<Finding>, Fault> {
        let client = self.client().await?;
        let admin = client.database("admin");
        let hello = self.answer(admin.run_command(doc! { "hello": 1 }).into_future()).await?;
        let built = self.answer(admin.run_command(doc! { "buildInfo": 1 }).into_future()).await;
        let version = built.ok().and_then(|built| built.get_str("version").ok().map(str::to_owned));
        let version = version.map_or_else(|| "MongoDB".to_owned(), |version| format!("MongoDB {version}"));
        let set = hello.get_str("setName").ok();
        let is_router = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        let what = match set {
            Some(set) => format!("replica set {set}"),
            None if is_router => "a router of a sharded cluster".to_owned(),
            None => "a standalone server".to_owned(),
        };
        let answers = format!("{version} at {} answers, {what}", self.hosts());
        let mut findings = vec![Finding::good(answers)];
        if transactions && set.is_none() && !is_router {
            findings = vec![
                Finding::bad(format!("{version} at {} is a standalone server, which has no transactions", self.hosts()))
                    .code(Code::MongoNoTransactions)
                    .help("start mongod with `--replSet rs0`, run `rs.initiate()` once in mongosh, or keep the checkpoint elsewhere"),
            ];
        }
        let asked = admin.run_command(doc! { "connectionStatus": 1, "showPrivileges": true });
        let status = self.answer(asked.into_future()).await?;
        let who = status.get_document("authInfo").ok();
        let list = |key: &str| who.and_then(|who| who.get_array(key).ok()).map(Vec::as_slice).unwrap_or_default();
        let (users, privileges) = (list("authenticatedUsers"), list("authenticatedUserPrivileges"));
        if users.is_empty() {
            // A server that asks for users refuses this to nobody in particular.
            self.answer(client.list_database_names().into_future()).await?;
            findings.push(Finding::good("the server asks for no user"));
            return Ok(findings);
        }
        for Needs { actions, database, role } in needs {
            let lacking: Vec<&str> =
                actions.iter().filter(|action| !allows(privileges, action, *database)).copied().collect();
            let on =
                database.map_or_else(|| "all databases".to_owned(), |database| format!("the database `{database}`"));
            findings.push(if lacking.is_empty() {
                Finding::good(format!("the user may {} on {on}", actions.join(", ")))
            } else {
                Finding::bad(format!("the user may not {} on {on}", lacking.join(", ")))
                    .code(Code::MongoDenied)
                    .help(format!("grant the user a role with these actions there, such as `{role}`"))
            });
        }
        Ok(findings)
    }
}

/// Whether one of the privileges allows an action on all collections of a database.
fn allows(privileges: &[Bson], action: &str, database: Option<&str>) -> bool {
    privileges.iter().filter_map(Bson::as_document).any(|privilege| {
        let actions = privilege.get_array("actions").map(Vec::as_slice).unwrap_or_default();
        let covers = privilege.get_document("resource").is_ok_and(|resource| covers(resource, database));
        covers && actions.iter().any(|one| one.as_str() == Some(action) || one.as_str() == Some("anyAction"))
    })
}

fn covers(resource: &Document, database: Option<&str>) -> bool {
    if resource.get_bool("anyResource").unwrap_or(false) {
        return true;
    }
    let (Ok(on), Ok("")) = (resource.get_str("db"), resource.get_str("collection")) else { return false };
    on.is_empty() || Some(on) == database
}
