//! A checkout of its own where a document's commands are typed, one block after the other.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use testkit::{Program, binary};

use crate::compare::missing;
use crate::markdown::{Step, steps};

/// The ports of this machine that documents name.
const PORTS: [u16; 10] = [8080, 8404, 8405, 8406, 8407, 8408, 8409, 8410, 8443, 9090];

/// How often it is looked again for what a busy machine is late with.
const LOOKS: usize = 10;

/// After so many failures a document is left.
const ENOUGH: usize = 5;

/// What takes a screen is looked at once, and what documents say to a node itself is said to one of demo 2.
const SHELL: &str = r#"
watch() { shift 2; "$@"; }
xdg-open() { curl --silent --fail --output /dev/null "$1"; }
tandemctl() { ./scripts/demo exec lb1 sh -c 'cd /etc/tandem && exec tandemctl "$@"' -- "$@"; }
finish() { local job; for job in $(jobs -p); do wait "$job"; done; }
"#;

/// The addresses and files of an example, and those of the demo.
const MEANT: [(&str, &str); 5] = [
    ("192.0.2.100", "172.20.0.100"),
    ("192.0.2.12", "172.20.0.12"),
    ("/etc/tandem/vrrp.yaml", "vrrp-lb1.yaml"),
    ("/tmp/vrrp-lb2.yaml", "vrrp-lb2.yaml"),
    // In a node of a demo everybody is root.
    ("sudo tandemctl", "tandemctl"),
];

/// A document, and what has to be known beside it.
#[derive(Default)]
pub struct Document {
    pub path: &'static str,
    /// The beginning of the chapter's heading, empty for all.
    pub chapter: &'static str,
    /// Beginnings of lines that are not typed here, and why.
    pub elsewhere: &'static [(&'static str, &'static str)],
    /// Lines before whose block something else has to be done.
    pub before: &'static [(&'static str, &'static str)],
}

pub struct Workplace {
    dir: TempDir,
    engine: &'static str,
}

impl Workplace {
    /// # Errors
    /// Why documents cannot be tried on this machine, now.
    pub fn new(engine: &'static str) -> Result<Self, String> {
        for port in PORTS {
            TcpListener::bind(("127.0.0.1", port))
                .map_err(|error| format!("documents name port {port} of this machine: {error}"))?;
        }
        let running = Command::new("scripts/engines/netns").arg("running").current_dir(root()).output();
        let running = running.map_err(|error| format!("scripts/engines/netns: {error}"))?;
        if !running.stdout.is_empty() {
            return Err("a demo runs on this machine already".to_owned());
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        // The daemons' users read their configuration there.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))
            .map_err(|error| error.to_string())?;
        let place = Self { dir, engine };
        let root = root();
        let copy = format!(
            "mkdir tests .ci && cp -a {0}/compose {0}/deploy {0}/scripts {0}/Makefile {0}/.gitignore . && rm -rf compose/tls &&
             git init --quiet && git add . &&
             git -c user.name=test -c user.email=test@localhost commit --quiet --message=copy",
            root.display()
        );
        let (output, worked) = place.shell(&copy);
        if worked { Ok(place) } else { Err(format!("no copy of the sources: {output}")) }
    }

    /// Types all commands of a document, or of a chapter.
    ///
    /// # Panics
    /// With everything that did not work, and what was seen instead.
    pub fn follow(&self, document: &Document) {
        let path = document.path;
        let text = fs::read_to_string(root().join(path)).expect("the document can be read");
        let mut failures = Vec::new();
        for step in steps(&text).iter().filter(|step| step.chapter.starts_with(document.chapter)) {
            for (_, command) in document.before.iter().filter(|(line, _)| step.commands.contains(line)) {
                let (output, worked) = self.shell(command);
                assert!(worked, "{command}: {output}");
            }
            if let Err(failure) = self.take(step, document.elsewhere) {
                failures.push(format!("{path}:{}: {failure}", step.line));
            }
            // What follows one mistake is seldom worth the wait.
            if failures.len() == ENOUGH {
                break;
            }
        }
        for (line, reason) in document.elsewhere {
            assert!(
                text.contains(line),
                "{path} has no {line:?} any more, which is not typed because {reason}"
            );
        }
        assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    }

    fn take(&self, step: &Step, elsewhere: &[(&str, &str)]) -> Result<(), String> {
        let is_typed = |line: &&str| !elsewhere.iter().any(|(start, _)| line.starts_with(start));
        let mut commands: String =
            step.commands.lines().filter(is_typed).flat_map(|line| [line, "\n"]).collect();
        for (example, here) in MEANT {
            commands = commands.replace(example, here);
        }
        // Where the document shows an output, that is what counts.
        let strict = if step.promised.is_empty() { "set -e -o pipefail" } else { "" };
        let (mut seen, worked) = self.shell(&format!("{SHELL}\n{strict}\n{commands}\nfinish"));
        // "sleep 8; ..." is a look at what takes its time. On a busy machine it takes more looks.
        let look = commands.lines().last().filter(|line| line.starts_with("sleep "));
        for look in look.iter().cycle().take(LOOKS) {
            if missing(&step.promised, &seen).is_empty() {
                break;
            }
            seen += &self.shell(&format!("{SHELL}\n{look}")).0;
        }
        println!("--- line {}:\n{commands}{seen}", step.line);
        let missing = missing(&step.promised, &seen);
        if !missing.is_empty() {
            return Err(format!("{commands}promises\n{}\nand this was seen:\n{seen}", missing.join("\n")));
        }
        if step.promised.is_empty() && !worked { Err(format!("{commands}fails:\n{seen}")) } else { Ok(()) }
    }

    /// What a script says on both its outputs, and whether it succeeds.
    fn shell(&self, script: &str) -> (String, bool) {
        let programs = binary(Program::Lbd);
        let mut command = Command::new("timeout");
        // Nobody types them inside of another make, which would be named.
        for of_make in ["MAKELEVEL", "MAKEFLAGS", "MFLAGS"] {
            command.env_remove(of_make);
        }
        let output = command
            .args(["300", "bash", "-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.dir.path())
            .env("ENGINE", self.engine)
            .env("TANDEM_BIN_DIR", programs.parent().expect("a program lies in a directory"))
            .output()
            .expect("there are timeout and bash");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let (output, worked) = self.shell("for demo in 1 2 3; do scripts/demo down $demo || exit; done");
        if !worked {
            eprintln!("the demo is still there: {output}");
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}
