//! The reference service as a program of its own.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    target_service::main_with(target_service::Args::parse())
}
