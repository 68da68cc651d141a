//! The program `highwater`: see `highwater --help`.

fn main() -> std::process::ExitCode {
    highwater::cli::main()
}
