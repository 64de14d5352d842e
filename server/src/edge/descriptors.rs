//! How many files and sockets the system lets this process open.

use std::fs;

/// Descriptors kept for the database, files, listeners and what else is no member's connection. Operators' connections are among these, so that
/// members cannot lock them out.
const RESERVE: usize = 64 + 2 * super::ADMIN_CONNECTIONS;
/// What is assumed where the system does not tell.
const USUAL: usize = 1024;

/// How many connections the process may have at most, whatever the configuration says.
pub(super) fn connections_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_limit(&limits).unwrap_or(USUAL).saturating_sub(RESERVE).max(1)
}

/// The soft limit of open files in the text of `/proc/self/limits`.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             63432                63432                processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(
            soft_limit("Max open files  unlimited  unlimited  files"),
            Some(usize::MAX)
        );
        assert_eq!(soft_limit(""), None);
        assert!(connections_max() > 0);
    }
}
