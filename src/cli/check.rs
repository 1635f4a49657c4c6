//! `attnscope check`: how the weights of a model fit its network.

use std::io::Write;

use candle_core::Device;
use serde::Serialize;

use super::args::CheckArgs;
use crate::checkpoint::{LoadReport, Origin};
use crate::{Error, Result};

#[derive(Serialize)]
struct Checked<'a> {
    model: &'a str,
    whole: bool,
    digest: String,
    classes: &'a [String],
    #[serde(flatten)]
    report: &'a LoadReport,
}

/// Runs the command.
///
/// # Errors
/// What is wrong with the model; also if it opens, but not as a whole.
pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let model = Origin::named(&args.model).open(&Device::Cpu)?;
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        let checked = Checked {
            model: &model.name,
            whole: model.report.is_whole(),
            digest: format!("{:016x}", model.digest),
            classes: &model.classes,
            report: &model.report,
        };
        serde_json::to_writer_pretty(&mut out, &checked)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        writeln!(out, "{}: {}", model.name, model.report)
    };
    match written {
        // A reader that has seen enough, such as `head`, is no error.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(e) => {
            return Err(Error::Setting(format!(
                "the report cannot be printed ({e})"
            )));
        }
        Ok(()) => {}
    }
    if model.report.is_whole() {
        return Ok(());
    }
    let problem = match &model.report.stopped {
        Some(why) => why.clone(),
        None => {
            let (missing, all) = (model.report.missing.len(), model.report.expected);
            format!("{missing} of {all} tensors are not in it")
        }
    };
    let expected = "weights for every row of its definition";
    Err(Error::file(&model.weights_file, problem, expected))
}
