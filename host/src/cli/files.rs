//! What commands take that read a configuration.

use std::path::PathBuf;

use crate::config::Files;

/// One configuration file, and what may come on top of it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration file (YAML).
    config: PathBuf,
    #[command(flatten)]
    more: MoreArgs,
}

/// What may come on top of a configuration file.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct MoreArgs {
    /// Another configuration file, which wins over those before it. May be given again.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    more: Vec<PathBuf>,
    /// A file of variables, in place of the .env beside the configuration file. May be given again.
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
}

/// As [`ConfigArgs`], for commands that take nothing else by its place.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConfigsArgs {
    /// The configuration file (YAML); of several, a later one wins over those before it.
    #[arg(required_unless_present = "more")]
    config: Vec<PathBuf>,
    #[command(flatten)]
    more: MoreArgs,
}

impl MoreArgs {
    /// The files, with these first.
    pub(super) fn files(self, mut configs: Vec<PathBuf>) -> Files {
        configs.extend(self.more);
        Files { configs, envs: self.env_file }
    }
}

impl From<&ConfigArgs> for Files {
    fn from(args: &ConfigArgs) -> Self {
        args.more.clone().files(vec![args.config.clone()])
    }
}

impl From<&ConfigsArgs> for Files {
    fn from(args: &ConfigsArgs) -> Self {
        args.more.clone().files(args.config.clone())
    }
}
