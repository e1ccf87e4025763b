//! `tidegate demo`: a server on a temporary data directory, an auction house in it, and a page to look at it.

use super::{Failure, end_of_process, runtime};
use crate::config::Config;
use crate::console;
use crate::demo::House;
use crate::demo::writer::Api;
use crate::server::{Server, Setup};
use crate::telemetry;
use std::io::{IsTerminal, Write};
use std::net::ToSocketAddrs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the line with figures is written anew.
const FIGURES: Duration = Duration::from_secs(1);

/// See it work: a server with a lively auction house in it, on a temporary data directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate demo\n  \
    tidegate demo --listen 127.0.0.1:9000 --rate 2000\n  \
    tidegate demo --lots 200 --rate 20 --seed 7\n\n\
    Open the page that it prints. Ctrl-C ends it and removes its data. The updates go through the HTTP API\n\
    like anybody's; whoever can reach the address may read and bid, so keep it on loopback.")]
pub struct Demo {
    /// Address of page and API; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Updates a second
    #[arg(long, value_name = "N", default_value_t = 200)]
    rate: u32,
    /// Lots that are up at a time
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    lots: u32,
    /// The same seed opens the same house
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl Demo {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let data = tempfile::Builder::new().prefix("tidegate-demo-").tempdir()?;
        let mut config = Config::default();
        config.server.listen = self.listen.clone();
        // So that a demo runs beside a server, and beside another demo.
        config.server.admin_listen = "127.0.0.1:0".to_owned();
        config.store.data = data.path().join("data");
        config.log.level = "warn".to_owned();
        telemetry::start(&config.log)?;
        let result = runtime()?.block_on(self.serve(config));
        let removed = data.close();
        result?;
        Ok(removed?)
    }

    async fn serve(self, config: Config) -> Result<(), Failure> {
        // Before anything is opened, so that no signal falls between.
        let told = end_of_process()?;
        let (data, pages) = (config.store.data.clone(), console::pages(&config.server));
        let server = Server::start(Setup { config, pages, ..Setup::default() }).await?;
        let password = server.root_password().unwrap_or_default().to_owned();
        let result = tokio::select! {
            result = self.hold(&server, &password, &data) => result,
            () = told => Ok(()),
        };
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        println!("Closing the house and removing its data.");
        server.shutdown().await?;
        result
    }

    /// Opens the house and keeps it going; ends only with an error.
    async fn hold(&self, server: &Server, password: &str, data: &std::path::Path) -> Result<(), Failure> {
        let mut progress = Progress::new();
        let origin = format!("http://{}", server.api_address());
        println!("Tidegate {}: an auction house with {} lots and {} updates a second", env!("CARGO_PKG_VERSION"), self.lots, self.rate);
        if !is_loopback(&self.listen) {
            println!("Careful: {} is not loopback. Whoever reaches it may read and write the demo's objects.", self.listen);
        }
        let api = Api::sign_in(&server.url(), "root", password).await?;
        let lots = usize::try_from(self.lots)?;
        let house = House::open(&api, lots, self.rate, self.seed, |done, total| progress.filling(done, total)).await?;
        progress.end();
        let url = if server.api_address().port() == 8080 { String::new() } else { format!(" --url {origin}") };
        println!();
        println!("  Open      {origin}{}", console::PATH);
        println!("  API       {}", server.url());
        println!("  Metrics   http://{}/metrics", server.admin_address());
        println!("  Data      {} (removed at the end)", data.display());
        println!("  Admin     root, password {password}");
        println!();
        println!("Try in another terminal:");
        println!("  tidegate watch Lot '{{\"city\":\"Paris\",\"state\":\"open\"}}'{url}");
        println!("  tidegate watch Bid '{{\"amount\":{{\"$gt\":20000}}}}' --fields name,amount,lot{url}");
        println!("  curl '{}/db/Lot/count?q=%7B%22state%22%3A%22open%22%7D'", server.url());
        println!();
        println!("Ctrl-C ends it.");
        std::io::stdout().flush()?;
        let written = house.written();
        let running = house.run();
        tokio::pin!(running);
        let mut clock = tokio::time::interval(FIGURES);
        loop {
            tokio::select! {
                result = &mut running => return result.map(|never| match never {}).map_err(Into::into),
                _ = clock.tick() => progress.running(written.load(Ordering::Relaxed)),
            }
        }
    }
}

fn is_loopback(listen: &str) -> bool {
    listen.to_socket_addrs().is_ok_and(|mut addresses| addresses.all(|address| address.ip().is_loopback()))
}

/// One line that is written over and over; nothing where standard error is no terminal.
struct Progress {
    shown: bool,
    last: (Instant, u64),
}

impl Progress {
    fn new() -> Progress {
        Progress { shown: std::io::stderr().is_terminal(), last: (Instant::now(), 0) }
    }

    fn filling(&mut self, done: usize, total: usize) {
        if self.shown && (done == total || self.last.0.elapsed() > Duration::from_millis(100)) {
            self.last.0 = Instant::now();
            eprint!("\r  opening the doors: {done} of {total} objects\x1b[K");
        }
    }

    fn running(&mut self, written: u64) {
        let (since, before) = std::mem::replace(&mut self.last, (Instant::now(), written));
        if self.shown && before > 0 {
            let rate = written.saturating_sub(before) as f64 / since.elapsed().as_secs_f64().max(0.001);
            eprint!("\r  {written} updates acknowledged, {rate:.0} a second\x1b[K");
        }
    }

    fn end(&mut self) {
        if self.shown {
            eprintln!();
        }
    }
}
