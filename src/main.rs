//! The binary: hands everything to the command line.

/// Lanes make and drop many short texts on several threads. This allocator takes half the time for it that the system's
/// does, and a lane in bulk peaks at two thirds of the memory; huge pages, which are switched off, would double that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cutover::cli::main()
}
