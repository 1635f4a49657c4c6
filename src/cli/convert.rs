//! `attnscope convert`: a checkpoint as a folder that people can read and other programs open.

use super::args::ConvertArgs;
use crate::Result;
use crate::checkpoint::convert;

/// Runs the command.
///
/// # Errors
/// What is wrong with the model, or why the folder cannot be written.
pub(super) fn run(args: &ConvertArgs) -> Result<()> {
    let folder = convert(&args.model, &args.out)?;
    println!("{}", folder.display());
    Ok(())
}
