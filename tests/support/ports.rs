//! Ports that must be known before somebody listens on them.

use std::fs::File;
use std::net::TcpListener;
use std::sync::Mutex;

/// Given away by this process, and locked as long as it lives.
static GIVEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A free port below those that the kernel gives to outgoing connections and to who asks for any port, so that nobody takes it while
/// nobody listens on it. No other test gets it, in this process or beside it.
pub fn free_port() -> u16 {
    let locks = std::env::temp_dir().join("tidegate-test-ports");
    std::fs::create_dir_all(&locks).unwrap();
    loop {
        let port = rand::random_range(15_000..32_000);
        let lock = File::create(locks.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            GIVEN.lock().unwrap().push(lock);
            return port;
        }
    }
}
