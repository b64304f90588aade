//! The `nearmiss` program: everything is in the library's `cli`.

use std::process::ExitCode;

/// candle allocates every result anew; mimalloc keeps the pages, the system's allocator gives them back and
/// the kernel clears them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // Our workers keep all cores busy with whole batches; candle's own helpers would only spin beside them.
        // SAFETY: no other thread exists yet that could read the environment.
        #[expect(unsafe_code, reason = "the environment is candle's only switch for it")]
        unsafe {
            std::env::set_var("CANDLE_NUM_THREADS", "1");
        }
    }
    nearmiss::cli::main()
}
