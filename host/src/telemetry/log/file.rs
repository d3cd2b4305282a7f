//! Log lines in a file that is begun anew from time to time.

use std::{io::Write as _, path::Path};

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::fmt::MakeWriter as _;

use crate::{
    config::{LogFileConfig, LogRotation},
    error::{Code, Fault},
};

/// The file of the log.
pub(super) struct LogFile(RollingFileAppender);

impl LogFile {
    /// Opens it, and makes its folder when that is missing.
    pub(super) fn open(config: &LogFileConfig) -> Result<Self, Fault> {
        let path = &config.path;
        let unusable = |cause: &dyn std::fmt::Display| {
            let message = format!(
                "the log file {} cannot be written to: {cause}; see that the folder is there and may be \
                                   written to, or leave `log.file` out",
                path.display()
            );
            Fault::fatal(Code::LogFile, message)
        };
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| !path.is_dir()) else {
            return Err(unusable(&"it is no name of a file"));
        };
        let rotation = match config.rotate {
            LogRotation::Daily => Rotation::DAILY,
            LogRotation::Hourly => Rotation::HOURLY,
            LogRotation::Never => Rotation::NEVER,
        };
        let mut builder = RollingFileAppender::builder().rotation(rotation).filename_prefix(stem);
        if let Some(ending) = path.extension().and_then(|ending| ending.to_str()) {
            builder = builder.filename_suffix(ending);
        }
        if config.rotate != LogRotation::Never {
            builder = builder.max_log_files(config.keep.into());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|cause| unusable(&cause))?;
        builder.build(folder).map(Self).map_err(|cause| match std::error::Error::source(&cause) {
            Some(source) => unusable(source),
            None => unusable(&cause),
        })
    }

    /// A file that cannot take a line, such as on a full disk, is no reason to stop moving changes.
    pub(super) fn write(&self, line: &[u8]) {
        let _ = self.0.make_writer().write_all(line);
    }
}
