//! The program: everything is in the library, so that tests and tools use the same code.

/// Many small objects of many threads are made and dropped; this allocator keeps memory and its spread low.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    tidegate::cli::run()
}
