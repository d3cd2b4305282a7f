//! Whether topics and subscriptions of Pub/Sub are as `tidegate setup` would make them.

use super::{Part, finding::Finding, in_time};
use crate::{
    config::Config,
    setup::{self, Line, Outcome},
};

/// How a difference is mended.
const HELP: &str =
    "`tidegate setup CONFIG --dry-run` shows what it would make and change, and without `--dry-run` it does";

/// None where no pipeline uses Pub/Sub.
pub(super) async fn part(config: &Config) -> Option<Part> {
    let mut used = false;
    let findings = in_time(async {
        let lines = setup::carry_out(config, true).await;
        used = !lines.is_empty();
        findings(&lines)
    });
    let findings = findings.await;
    let about = "topics and subscriptions of Pub/Sub".to_owned();
    (used || !findings.is_empty()).then(|| Part { pipeline: None, part: "setup".to_owned(), about, findings })
}

fn findings(lines: &[Line]) -> Vec<Finding> {
    let there = lines.iter().filter(|line| line.outcome == Outcome::There).count();
    let good = (there > 0).then(|| Finding::good(format!("{there} of them there, as the configuration wants them")));
    good.into_iter().chain(lines.iter().filter_map(finding)).collect()
}

/// What is missing or differs is no more than a warning: a pipeline that does not run without it says so in its own part.
fn finding(line: &Line) -> Option<Finding> {
    let mut what = line.what.clone();
    for (number, property) in line.properties.iter().filter(|property| property.from.is_some()).enumerate() {
        let (from, to) = (property.from.as_deref().unwrap_or_default(), &property.to);
        what.push_str(if number == 0 { ": " } else { ", " });
        what.push_str(&format!("`{}` is {from} and should be {to}", property.name));
    }
    let found = match line.outcome {
        Outcome::There | Outcome::Note | Outcome::Made | Outcome::Changed => return None,
        Outcome::ToMake => Finding::warning(format!("{what} is not there")).help(HELP),
        Outcome::ToChange => Finding::warning(what).help(HELP),
        // Who runs a pipeline need not be who may ask for this.
        Outcome::Failed if line.code.is_some() => Finding::unknown(what),
        Outcome::Failed => Finding::warning(what),
    };
    Some(Finding { code: line.code, help: line.help.clone().or(found.help.clone()), ..found })
}
