//! The program: parses the command line and opens a door.

use std::process::ExitCode;

fn main() -> ExitCode {
    attnscope::kernels::keep_memory();
    attnscope::cli::main()
}
