//! Makes and changes topics and subscriptions.

use std::{collections::HashSet, time::Duration};

use google_cloud_gax::error::rpc::Code as Grpc;
use google_cloud_pubsub::{
    Error,
    client::{SubscriptionAdmin, TopicAdmin},
    model::{self, UpdateSubscriptionRequest, UpdateTopicRequest},
};

use super::{
    Line, Outcome, Property,
    wanted::{Subscription, Topic, Wanted},
};
use crate::{
    config::PubsubConnection,
    error::{Code, Fault},
    pubsub::{About, PubsubConnector, names},
    source::pubsub::delivers_itself,
};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sees to all that is wanted of one service.
pub(super) struct Maker {
    connector: PubsubConnector,
    place: String,
    dry: bool,
    /// Topics that are not there and could not be made.
    missing: HashSet<String>,
}

struct Clients {
    topics: TopicAdmin,
    subscriptions: SubscriptionAdmin,
}

impl Maker {
    pub(super) fn new(connection: &PubsubConnection, dry: bool) -> Self {
        let connector = PubsubConnector::new(connection, PATIENCE);
        let place = format!("Pub/Sub at {}", connector.place());
        Self { connector, place, dry, missing: HashSet::new() }
    }

    /// A line for each thing.
    pub(super) async fn all(mut self, wanted: Wanted) -> Vec<Line> {
        let mut lines: Vec<Line> =
            wanted.lines.iter().map(|line| Line { place: self.place.clone(), ..line.clone() }).collect();
        // Who is asked for two things at once gets neither.
        if lines.iter().any(|line| line.outcome == Outcome::Failed) {
            return lines;
        }
        if let Err(fault) = self.each(&wanted, &mut lines).await {
            lines.push(Line::failed(&self.place, &fault));
        }
        lines
    }

    /// What would meet all that follows ends it.
    async fn each(&mut self, wanted: &Wanted, lines: &mut Vec<Line>) -> Result<(), Fault> {
        let topics = self.connector.topics().await?;
        let clients = Clients { topics, subscriptions: self.connector.subscriptions().await? };
        for (name, topic) in &wanted.topics {
            match self.topic(&clients, name, topic).await {
                Ok(line) => lines.push(line.of(&topic.by)),
                Err(fault) if is_for_all(&fault) => return Err(fault),
                Err(fault) => lines.push(Line::failed(&self.place, &fault).of(&topic.by)),
            }
        }
        for (name, subscription) in &wanted.subscriptions {
            match self.subscription(&clients, name, subscription).await {
                Ok(line) => {
                    let hint = self.rights(name, &line, subscription);
                    lines.push(line.of(&subscription.by));
                    lines.extend(hint);
                }
                Err(fault) if is_for_all(&fault) => return Err(fault),
                Err(fault) => lines.push(Line::failed(&self.place, &fault).of(&subscription.by)),
            }
        }
        for (name, topic) in wanted.topics.iter().filter(|(_, topic)| topic.is_target) {
            if self.is_unread(&clients, name, wanted).await {
                let what = format!("nothing subscribes to {name}: what is published there is gone");
                let help = "name a subscription under `setup.subscriptions` of the sink, or make one otherwise, before the pipeline runs";
                lines.push(Line::new(&self.place, Outcome::Note, what).of(&topic.by).help(help));
            }
        }
        Ok(())
    }

    async fn topic(&mut self, clients: &Clients, name: &str, wanted: &Topic) -> Result<Line, Fault> {
        let about = About::setup("topic", name, Code::PubsubTopicMissing);
        let found = match clients.topics.get_topic().set_topic(name).send().await {
            Err(error) if code(&error) == Some(Grpc::NotFound) => {
                let new = wanted.apply(model::Topic::new().set_name(name));
                let properties = wanted.given();
                if self.dry {
                    return Ok(self.line(Outcome::ToMake, &about, properties));
                }
                match clients.topics.create_topic().with_request(new).send().await {
                    Ok(_) => return Ok(self.line(Outcome::Made, &about, properties)),
                    // Somebody else was quicker.
                    Err(error) if code(&error) == Some(Grpc::AlreadyExists) => {
                        clients.topics.get_topic().set_topic(name).send().await
                    }
                    Err(error) => {
                        self.missing.insert(name.to_owned());
                        return Err(self.unmade(&error, &about));
                    }
                }
            }
            answer => answer,
        };
        let found = found.map_err(|error| self.connector.fault(&error, &about))?;
        let differences = wanted.differences(&found);
        let properties: Vec<Property> = differences.iter().map(|one| one.shown()).collect();
        if differences.is_empty() || self.dry {
            return Ok(self.line(Outcome::ToChange, &about, properties));
        }
        let mut request = UpdateTopicRequest::new().set_topic(wanted.apply(found));
        request.update_mask.get_or_insert_default().paths = paths(differences.iter().filter_map(|one| one.path));
        let changed = clients.topics.update_topic().with_request(request).send().await;
        changed.map_err(|error| self.unchanged(&error, &about))?;
        Ok(self.line(Outcome::Changed, &about, properties))
    }

    async fn subscription(&self, clients: &Clients, name: &str, wanted: &Subscription) -> Result<Line, Fault> {
        let about = About::setup("subscription", name, Code::PubsubSubscriptionMissing);
        let get = || clients.subscriptions.get_subscription().set_subscription(name);
        let found = match get().send().await {
            Err(error) if code(&error) == Some(Grpc::NotFound) => {
                let Some(topic) = &wanted.topic else { return Err(self.of_no_topic(name)) };
                if let Some(missing) = self.needs(wanted) {
                    let message = format!("{} is not made: {missing} is missing", about.what);
                    return Err(Fault::fatal(Code::PubsubTopicMissing, message));
                }
                let new = wanted.apply(model::Subscription::new().set_name(name).set_topic(topic));
                let mut properties = vec![Property { name: "topic".to_owned(), from: None, to: topic.clone() }];
                properties.extend(wanted.given());
                if self.dry {
                    return Ok(self.line(Outcome::ToMake, &about, properties));
                }
                match clients.subscriptions.create_subscription().with_request(new).send().await {
                    Ok(_) => return Ok(self.line(Outcome::Made, &about, properties)),
                    Err(error) if code(&error) == Some(Grpc::AlreadyExists) => get().send().await,
                    Err(error) => return Err(self.unmade(&error, &about)),
                }
            }
            answer => answer,
        };
        let found = found.map_err(|error| self.connector.fault(&error, &about))?;
        if let Some(delivers) = delivers_itself(&found).filter(|_| wanted.is_source) {
            let message = format!(
                "{} {delivers}, and cannot be pulled from; give the `subscription` of the source another name, and this makes it",
                about.what
            );
            return Err(Fault::fatal(Code::PubsubSubscriptionUnfit, message));
        }
        let fixed = wanted.fixed(&found);
        if !fixed.is_empty() {
            let properties = fixed.iter().map(|one| one.shown()).collect();
            let line = self.line(Outcome::Failed, &about, properties);
            return Ok(Line { code: Some(Code::PubsubFixed.as_str()), ..line }.help(way_out(name)));
        }
        let differences = wanted.differences(&found);
        let properties: Vec<Property> = differences.iter().map(|one| one.shown()).collect();
        if differences.is_empty() || self.dry {
            return Ok(self.line(Outcome::ToChange, &about, properties));
        }
        if let Some(missing) = self.needs(wanted) {
            let message = format!("{} is not changed: {missing} is missing", about.what);
            return Err(Fault::fatal(Code::PubsubTopicMissing, message));
        }
        let mut request = UpdateSubscriptionRequest::new().set_subscription(wanted.apply(found));
        request.update_mask.get_or_insert_default().paths = paths(differences.iter().filter_map(|one| one.path));
        let changed = clients.subscriptions.update_subscription().with_request(request).send().await;
        changed.map_err(|error| self.unchanged(&error, &about))?;
        Ok(self.line(Outcome::Changed, &about, properties))
    }

    /// What has no difference is there.
    fn line(&self, outcome: Outcome, about: &About, properties: Vec<Property>) -> Line {
        let outcome = if outcome == Outcome::ToChange && properties.is_empty() { Outcome::There } else { outcome };
        Line::new(&self.place, outcome, &about.what).with(properties)
    }

    /// The first topic that a subscription needs and that could not be made.
    fn needs<'a>(&self, wanted: &'a Subscription) -> Option<&'a String> {
        let dead = wanted.dead_letter.as_ref().map(|(topic, _)| topic);
        wanted.topic.iter().chain(dead).find(|topic| self.missing.contains(*topic))
    }

    fn of_no_topic(&self, name: &str) -> Fault {
        let message = format!(
            "{} has no subscription {name}, and the configuration does not say of which topic it is to be: add \
             `setup: {{ topic: NAME }}` to the source",
            self.place
        );
        Fault::fatal(Code::PubsubSubscriptionMissing, message)
    }

    fn unmade(&self, error: &Error, about: &About) -> Fault {
        match error.status() {
            Some(status) if status.code == Grpc::NotFound => Fault::fatal(
                Code::PubsubTopicMissing,
                format!(
                    "{} cannot make {}: {} {}; look whether the project and all topics are there that it names",
                    self.place,
                    about.what,
                    status.code.name(),
                    status.message
                ),
            ),
            _ => self.connector.fault(error, about),
        }
    }

    /// What is refused as it stands is told with the way to do without.
    fn unchanged(&self, error: &Error, about: &About) -> Fault {
        let mut fault = self.connector.fault(error, about);
        if fault.code == Code::PubsubError {
            fault.message += "; nothing of it was changed";
        }
        fault
    }

    /// What the service itself may not do for lack of a right shows nowhere: dead letters then stay where they are.
    fn rights(&self, name: &str, line: &Line, wanted: &Subscription) -> Option<Line> {
        let (topic, _) = wanted.dead_letter.as_ref().filter(|_| !self.connector.is_emulator())?;
        let is_new = line.properties.iter().any(|property| property.name == "dead_letter");
        (is_new && line.outcome != Outcome::Failed).then(|| {
            let what = format!("the service needs rights of its own to move dead letters of {name}");
            Line::new(&self.place, Outcome::Note, what).help(grants(name, topic))
        })
    }

    /// Whether nobody gets what is published there, as far as this account may know.
    async fn is_unread(&self, clients: &Clients, topic: &str, wanted: &Wanted) -> bool {
        let is_wanted = wanted.subscriptions.values().any(|wanted| wanted.topic.as_deref() == Some(topic));
        if is_wanted || self.missing.contains(topic) {
            return false;
        }
        match clients.topics.list_topic_subscriptions().set_topic(topic).send().await {
            Ok(listed) => listed.subscriptions.is_empty() && listed.next_page_token.is_empty(),
            Err(error) => code(&error) == Some(Grpc::NotFound),
        }
    }
}

fn code(error: &Error) -> Option<Grpc> {
    error.status().map(|status| status.code)
}

/// Nobody answers, or not to this account.
fn is_for_all(fault: &Fault) -> bool {
    matches!(fault.code, Code::PubsubUnreachable | Code::PubsubCredentials)
}

fn paths(of: impl Iterator<Item = &'static str>) -> Vec<String> {
    let mut paths: Vec<String> = of.map(str::to_owned).collect();
    paths.dedup();
    paths
}

fn way_out(name: &str) -> String {
    let (project, alone) = names::split(name);
    format!(
        "it has that for life, and nothing of it was changed: give the subscription another name in the configuration and run this again, or \
         write under `setup` what it has, or remove it, with the messages that are in it: `gcloud pubsub subscriptions delete {alone} \
         --project={project}`"
    )
}

/// The commands that let the service move the dead letters of a subscription.
fn grants(subscription: &str, topic: &str) -> String {
    let ((project, subscription), (dead_project, topic)) = (names::split(subscription), names::split(topic));
    let agent = format!(
        "\"serviceAccount:service-$(gcloud projects describe {project} --format='value(projectNumber)')@gcp-sa-pubsub.iam.gserviceaccount.com\""
    );
    format!(
        "give them once: `gcloud pubsub topics add-iam-policy-binding {topic} --project={dead_project} --role=roles/pubsub.publisher \
         --member={agent}` and `gcloud pubsub subscriptions add-iam-policy-binding {subscription} --project={project} \
         --role=roles/pubsub.subscriber --member={agent}`"
    )
}
