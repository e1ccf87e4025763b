//! What the benches share: the brief mode, measuring in turns, medians, the table at the end.
//!
//! Every bench is a program of its own (`harness = false`). Its header says what it measures, on what data and how to run
//! it. It prints the figure beside a baseline that was measured in turns with it in the same run: the machine is
//! shared, so ratios hold where figures do not. With `--brief` or `TIDEGATE_BENCH_BRIEF=1` it ends within
//! seconds, with the same checks.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod child;
pub mod readers;
pub mod tidegate;

pub use ::tidegate::bench::table::{Table, count};

/// What the command line asks for.
pub struct Arguments {
    /// End within seconds
    pub brief: bool,
    words: Vec<String>,
}

/// Reads the command line; cargo's own `--bench` is no concern of ours.
pub fn arguments() -> Arguments {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wished = std::env::var_os("TIDEGATE_BENCH_BRIEF").is_some_and(|value| !value.is_empty() && value != "0");
    Arguments { brief: wished || words.iter().any(|word| word == "--brief"), words }
}

impl Arguments {
    /// Whether a flag is there.
    pub fn has(&self, flag: &str) -> bool {
        self.words.iter().any(|word| word == flag)
    }

    /// The value behind a flag.
    pub fn value(&self, flag: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == flag)?;
        self.words.get(at + 1).map(String::as_str)
    }

    /// The one or the other.
    pub fn choose<T>(&self, full: T, brief: T) -> T {
        if self.brief { brief } else { full }
    }
}

/// Measures the candidates in turns, so that all meet the same neighbours; the median of each.
pub fn in_turns<const N: usize>(turns: usize, mut candidates: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut measured: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(turns));
    for _ in 0..turns {
        for (candidate, figures) in candidates.iter_mut().zip(&mut measured) {
            figures.push(candidate());
        }
    }
    measured.map(median)
}

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which this share of the figures lies.
pub fn quantile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let at = ((figures.len() as f64 * share) as usize).min(figures.len().saturating_sub(1));
    figures.get(at).copied().unwrap_or(f64::NAN)
}

/// A runtime for clients: one thread, so that they take no more than one core.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Sees to it that so many files may be open; says so and ends the bench if not.
pub fn open_files(wanted: u64) {
    let limit = ::tidegate::bench::process::raise_file_limit(wanted);
    if limit < wanted {
        eprintln!("this bench needs {wanted} open files, the system allows {limit}: raise it (ulimit -n {wanted}) or use --brief");
        std::process::exit(2);
    }
}

/// The server's allocator: what is measured is the program as it is shipped.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
