//! What a process uses, as the system counts it, and how many files it may open.

use std::time::Duration;

/// Ticks a second of the times in `/proc/<pid>/stat`; the same on every Linux that this runs on.
const TICKS: u64 = 100;

/// Processor time that a process has used so far, all its threads, user and system together.
/// None where the system does not tell (no `/proc`), or the process is gone.
pub fn cpu_time(process: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields are counted from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * 1_000 / TICKS))
}

/// Bytes of memory that a process has resident.
pub fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// How far the limit of open files may be raised without the right to go beyond what the system set.
pub fn hard_file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the limit of open files to `wanted` if it is below and the system lets us; what it is then.
pub fn raise_file_limit(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= wanted {
        return now;
    }
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    // Beyond the hard limit only those may go who may raise that too.
    let beyond = Rlimit { current: Some(wanted), maximum: Some(wanted.max(maximum)) };
    let within = Rlimit { current: Some(wanted.min(maximum)), maximum: limit.maximum };
    if wanted <= maximum || setrlimit(Resource::Nofile, beyond).is_err() {
        let _ = setrlimit(Resource::Nofile, within);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let (me, from) = (std::process::id(), std::time::Instant::now());
        let before = cpu_time(me).unwrap();
        while from.elapsed() < Duration::from_secs(10) && cpu_time(me).unwrap() == before {
            std::hint::black_box(std::fs::read_to_string("/proc/self/stat").unwrap());
        }
        assert!(cpu_time(me).unwrap() > before);
        assert!(resident(me).unwrap() > 100_000);
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
