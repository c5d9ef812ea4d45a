//! How many files the process may have open. Every remote target takes a connection for its watch and now and then one
//! more, and what a process may have without asking is often 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many as are allowed, as programs in Go do by themselves; gives how many there may be. `None`: no limit.
pub(super) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where that is refused, it goes on with what there is.
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}
