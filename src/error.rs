//! The one error type of the library: every message says which file, what is wrong and what was
//! expected, so that a person can act on it.

use std::path::Path;

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong on the way from a file to a picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A picture, model, weights or output file is not what it should be.
    #[error("{file}: {problem}; expected {expected}")]
    File {
        /// Path or name as the person gave it.
        file: String,
        /// What was found.
        problem: String,
        /// What would have been right.
        expected: String,
    },
    /// A setting that cannot be used, from the command line or a settings file.
    #[error("{0}")]
    Setting(String),
    /// A computation failed. Reaching this is a defect of the program, not of the input.
    #[error("the computation failed: {}", in_words(.0))]
    Compute(#[from] candle_core::Error),
    /// A newer wish arrived: the run stopped between two layers.
    #[error("stopped: a newer setting is waiting")]
    Cancelled,
}

impl Error {
    /// A problem with one file. `file` is shown as it is given.
    pub fn file(
        file: impl std::fmt::Display,
        problem: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Self {
        Self::File {
            file: file.to_string(),
            problem: problem.to_string(),
            expected: expected.to_string(),
        }
    }

    /// A problem with one file given by its path.
    pub fn path(
        path: &Path,
        problem: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Self {
        Self::file(path.display(), problem, expected)
    }
}

/// What candle says, without the backtrace that it carries where `RUST_BACKTRACE` is set: finding its
/// names would read all debug information (tens of MB), and a person has no use for them.
pub fn in_words(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => in_words(inner),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candle_s_message_stands_alone() {
        let backtrace = Box::new(std::backtrace::Backtrace::force_capture());
        let inner = Box::new(candle_core::Error::Msg("no such row".into()));
        let error = candle_core::Error::WithBacktrace { inner, backtrace };
        assert!(error.to_string().lines().count() > 1);
        assert_eq!(in_words(&error), "no such row");
        let shown = Error::Compute(error).to_string();
        assert_eq!(shown, "the computation failed: no such row");
    }
}
