//! The program: parses the command line and opens a door.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: there is no other thread yet.
    unsafe { attnscope::kernels::one_pool() };
    attnscope::kernels::keep_memory();
    attnscope::cli::main()
}
