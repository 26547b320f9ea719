//! Commands that vrrpd runs: not by a shell, bounded in time and output, and ended with everything that they have started.

use std::io;
use std::pin::pin;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::guard;

/// What is kept of a command's output. The rest is read, so that the command is not held up, and forgotten.
const OUTPUT: usize = 4096;
/// Lines of it that are worth a look, and how long one may be.
const LINES: (usize, usize) = (16, 200);
/// How long the output of a command that has ended is waited for. Only a process that left the group can hold it open.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Where programs are found if vrrpd was not told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether it exited with 0.
    pub(crate) good: bool,
    /// How it ended, in words.
    pub(crate) text: String,
    /// The first lines that it printed.
    pub(crate) lines: Vec<String>,
}

/// Runs a command with further arguments, and waits for its end, for so long at most. Of vrrpd's environment it gets `PATH`, and
/// of its capabilities none unless it is privileged.
pub(crate) async fn run(command: &config::Command, more: &[String], patience: Duration) -> Outcome {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Outcome { good: false, text: "there is no command".to_owned(), lines: Vec::new() };
    };
    let (mut child, mut output, _alive) = match spawn(program, arguments, more, command.privileged) {
        Ok(spawned) => spawned,
        Err(error) => {
            let text = format!("cannot run {program}: {error}");
            return Outcome { good: false, text, lines: Vec::new() };
        }
    };
    // Dropped before `child` is, also when nobody waits any more.
    let group = Group(child.id());
    let mut said = Vec::new();
    let ended = timeout(patience, async {
        let mut status = pin!(child.wait());
        tokio::select! {
            status = &mut status => status,
            () = listen(&mut output, &mut said) => status.await,
        }
    })
    .await;
    drop(group);
    // What came later is worth less than the time.
    let _ = timeout(LAST_WORDS, listen(&mut output, &mut said)).await;
    let (good, text) = match ended {
        Ok(Ok(status)) if status.success() => (true, format!("{program} succeeded")),
        Ok(Ok(status)) => (false, format!("{program} failed: {status}")),
        Ok(Err(error)) => (false, format!("{program} cannot be waited for: {error}")),
        Err(_) => (false, format!("{program} took longer than {patience:?} and was killed")),
    };
    Outcome { good, text, lines: lines(&said) }
}

/// The command behind its guard, its output, and what tells the guard that vrrpd lives.
fn spawn(
    program: &str,
    arguments: &[String],
    more: &[String],
    privileged: bool,
) -> io::Result<(Child, Receiver, io::PipeWriter)> {
    // One pipe for both, so that lines stay in their order.
    let (reader, writer) = io::pipe()?;
    let (life, alive) = io::pipe()?;
    let child = Command::new("/proc/self/exe")
        .arg0(guard::NAME)
        .arg(if privileged { guard::PRIVILEGED } else { guard::CONFINED })
        .arg(program)
        .args(arguments)
        .args(more)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
        .stdin(life)
        .stdout(writer.try_clone()?)
        .stderr(writer)
        // A group of its own, so that all that it starts ends with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, Receiver::from_owned_fd(reader.into())?, alive))
}

/// Reads to the end, and keeps the beginning.
async fn listen(output: &mut Receiver, said: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        said.extend(&buffer[..length.min(OUTPUT - said.len())]);
    }
}

/// Lines that are not empty, without what a terminal would obey.
fn lines(said: &[u8]) -> Vec<String> {
    let clean = |line: &str| -> String {
        line.trim().chars().take(LINES.1).map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    String::from_utf8_lossy(said).lines().map(clean).filter(|line| !line.is_empty()).take(LINES.0).collect()
}

/// The process group of a command: it ends when nobody waits for it any more.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // A group that has ended is no error.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}
