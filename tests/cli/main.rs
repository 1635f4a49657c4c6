//! The command line as a person uses it: the real program, its files, messages and exit codes.

mod bench;
mod checkpoints;
mod evaluate;
mod layers;
mod pictures;
mod program;
mod refusals;
mod results;
mod settings;
