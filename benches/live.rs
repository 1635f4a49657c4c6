//! How long it takes until something is seen: `attnscope bench` at the two sizes that README
//! states. Run with `cargo bench --bench live`; further arguments go to `attnscope bench`, such as
//! `cargo bench --bench live -- --only knobs --runs 31`.

use std::process::{Command, ExitCode};

const SIZES: [&str; 2] = ["384", "640"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too, without that word.
    if !args.iter().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    for size in SIZES {
        let status = Command::new(env!("CARGO_BIN_EXE_attnscope"))
            .args(["bench", "--imgsz", size])
            .args(args.iter().filter(|a| *a != "--bench"))
            .status();
        match status {
            Ok(status) if status.success() => println!(),
            Ok(status) => {
                eprintln!("attnscope bench ended with {status}");
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("attnscope bench cannot be started: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
