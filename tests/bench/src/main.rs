//! `make bench`: lbd beside Debian's HAProxy and nginx, and beside a bare relay, in one run on loopback.
//!
//! The proxies have one processor to themselves, the load and the origin another. Rounds are interleaved: each goes through
//! every kind of work with every proxy, so that whatever else the machine does meets all of them. What is compared is the
//! median of each over the rounds, and what is asserted is nothing: a benchmark measures.

mod args;
mod bare;
mod checks;
mod cpu;
mod h2load;
mod load;
mod memory;
mod origin;
mod peer;
mod program;
mod relay;
mod report;
mod storm;
mod tls_client;
mod tunnel;
mod work;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Part};

fn main() -> ExitCode {
    let result = match Args::parse().part {
        Part::Run(run) => run.main(),
        Part::Checks(checks) => checks.main(),
        Part::Storm(storm) => storm.main(),
        Part::Relay { listen, to } => relay::main(listen, to),
        Part::Bare { pairs } => bare::main(&pairs),
        Part::Echo { listen } => tunnel::echo(listen),
        Part::Memory(memory) => memory.main(),
        Part::Hold { to, connections, held, authority } => load::hold(to, connections, held, &authority),
        Part::Tunnels { to, connections, seconds } => tunnel::load(to, connections, seconds),
        Part::Resume { to, path, connections, seconds, authority } => {
            tls_client::resume(to, &path, connections, seconds, &authority)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
