//! The binary: hands everything to the command line.

fn main() -> std::process::ExitCode {
    cutover::cli::main()
}
