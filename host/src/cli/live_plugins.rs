//! `tidegate plugin list|promote|rollback|history`: the plugins of a running host.

use std::{fmt::Write as _, net::SocketAddr};

use serde_json::Value;

use super::{ask::with_host, files::ConfigArgs, print};

/// What is asked of a running host.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LiveCommand {
    /// Show which generation of each plugin runs, what is tried, where a step back leads, and what is barred.
    List {
        #[command(flatten)]
        host: HostArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Promote the candidate of a plugin, or its file when that is barred or was not taken.
    Promote(StepArguments),
    /// Give up the candidate of a plugin, or go back to the previous generation; the file is barred.
    Rollback(StepArguments),
    /// Show what happened to a plugin, over all runs of the host.
    History {
        #[command(flatten)]
        step: StepArguments,
        /// Print JSON, a line for each event.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct HostArguments {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the host answers, such as 127.0.0.1:9610.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

#[derive(Debug, clap::Args)]
pub(super) struct StepArguments {
    #[command(flatten)]
    host: HostArguments,
    /// The plugin.
    plugin: String,
}

pub(super) fn run(command: &LiveCommand) -> u8 {
    match command {
        LiveCommand::List { host, json } => with_host(&host.config, host.admin, async |asked| {
            let body = asked.get(&["plugins"]).await?;
            print(&if *json { format!("{body}\n") } else { list(&body) });
            Ok(())
        }),
        LiveCommand::Promote(step) => act(step, "promote"),
        LiveCommand::Rollback(step) => act(step, "rollback"),
        LiveCommand::History { step, json } => with_host(&step.host.config, step.host.admin, async |asked| {
            let body = asked.get(&["plugins", &step.plugin, "history"]).await?;
            let entries = body["history"].as_array().map(Vec::as_slice).unwrap_or_default();
            let line = |entry: &Value| if *json { format!("{entry}\n") } else { event(entry) };
            print(&entries.iter().map(line).collect::<String>());
            Ok(())
        }),
    }
}

fn act(step: &StepArguments, action: &str) -> u8 {
    with_host(&step.host.config, step.host.admin, async |asked| {
        let body = asked.post(&["plugins", &step.plugin, action]).await?;
        print(&format!("{}\n", text(&body, "done")));
        Ok(())
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// Twelve digits tell two files apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn generation(value: &Value) -> String {
    let (version, digest, since) = (text(value, "version"), short(text(value, "digest")), text(value, "since"));
    format!("{version}  generation {}  {digest}  since {since}", number(value, "generation"))
}

fn list(body: &Value) -> String {
    let mut out = String::new();
    for plugin in body["plugins"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "{}  {}", text(plugin, "plugin"), text(plugin, "state"));
        let _ = writeln!(out, "  running    {}", generation(&plugin["running"]));
        if let Some(probation) = plugin.get("probation") {
            let rates = |value: &Value| {
                let (changes, rejects) = (number(value, "changes"), number(value, "rejects"));
                format!("{changes} changes, {rejects} rejected, {} failed", number(value, "failures"))
            };
            let (now, before) = (rates(&probation["now"]), rates(&probation["before"]));
            let _ = writeln!(out, "  probation  {} s: {now}; before: {before}", probation["seconds"]);
        }
        if let Some(candidate) = plugin.get("candidate") {
            let _ = writeln!(out, "  candidate  {}", generation(candidate));
            let count = |name| number(candidate, name);
            let _ = writeln!(
                out,
                "             {} compared: {} equal, {} different, {} new rejects, {} rejects gone, {} failures; {} dropped",
                count("compared"),
                count("equal"),
                count("different"),
                count("new_rejects"),
                count("gone_rejects"),
                count("failures"),
                count("dropped")
            );
            let micros = |name| candidate.get(name).and_then(Value::as_f64).unwrap_or_default();
            let (own, running) = (micros("candidate_micros"), micros("running_micros"));
            let _ = writeln!(out, "             {own:.1} us a change, the running one {running:.1}");
            let decides = match (text(candidate, "promote"), candidate["complete"].as_bool()) {
                ("manual", Some(true)) => "it waits for you: tidegate plugin promote, or rollback",
                ("manual", _) => "you decide: tidegate plugin promote, or rollback",
                _ => "the limits decide",
            };
            let _ = writeln!(out, "             {decides}");
            for example in candidate["examples"].as_array().into_iter().flatten() {
                let _ = writeln!(
                    out,
                    "             {} {} of {}",
                    text(example, "what"),
                    text(example, "change"),
                    text(example, "ns")
                );
                for (sign, side) in [('-', "before"), ('+', "after")] {
                    for line in text(example, side).lines() {
                        let _ = writeln!(out, "               {sign} {line}");
                    }
                }
            }
        }
        if let Some(previous) = plugin.get("previous") {
            let _ = writeln!(out, "  previous   {}", generation(previous));
        }
        for barred in plugin["barred"].as_array().into_iter().flatten() {
            let (version, digest, at) = (text(barred, "version"), short(text(barred, "digest")), text(barred, "at"));
            let _ = writeln!(out, "  barred     {version}  {digest}  since {at}: {}", text(barred, "reason"));
        }
    }
    out
}

fn event(entry: &Value) -> String {
    let reason = match text(entry, "reason") {
        "" => String::new(),
        reason => format!("  {reason}"),
    };
    format!(
        "{}  {:<11}  {}  generation {}  {}{reason}\n",
        text(entry, "at"),
        text(entry, "event"),
        text(entry, "version"),
        number(entry, "generation"),
        short(text(entry, "digest"))
    )
}
