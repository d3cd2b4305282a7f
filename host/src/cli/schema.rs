//! `tidegate schema config`

use super::{exit, print};
use crate::config;

#[derive(Debug, clap::Subcommand)]
pub(super) enum SchemaCommand {
    /// Print the JSON Schema of the configuration file, which editors complete and check by.
    Config {
        /// Of one of several files, in which what is required may be missing.
        #[arg(long)]
        partial: bool,
    },
}

pub(super) fn schema(command: SchemaCommand) -> u8 {
    let SchemaCommand::Config { partial } = command;
    match serde_json::to_string_pretty(&config::schema(partial)) {
        Ok(text) => {
            print(&format!("{text}\n"));
            0
        }
        Err(cause) => {
            eprintln!("error: the schema cannot be printed: {cause}");
            exit::FAILED
        }
    }
}
