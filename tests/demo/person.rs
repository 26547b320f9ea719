//! An ordinary user with a home and a copy of the repository, on a machine that knows no such user: what runs as that person has
//! mounts of its own, in which the system's lists of users have one more. Nothing of the machine is changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::{Program, binary};

use crate::kit::{free_addresses, root, text};

/// A number that nobody on the machine has, and the first of those that its containers' users get.
const ID: u32 = 64_840;
const FIRST_SUBORDINATE: u32 = 1_640_000;
const NAME: &str = "tandem-person";

/// What gives a command the person's mounts, and then the person's rights. Devices are as udev makes them, for everybody: not
/// every machine has udev.
const BECOME: &str = "set -e
    home=$1; shift
    for list in passwd group subuid subgid; do mount --bind $home/etc/$list /etc/$list; done
    mount --bind $home/tun /dev/net/tun
    mount --bind $home/fuse /dev/fuse
    exec setpriv --reuid 64840 --regid 64840 --clear-groups --inh-caps=-all -- \"$@\"";

pub struct Person {
    home: tempfile::TempDir,
}

impl Person {
    /// Somebody who has the programs, what root has downloaded, and the files that git knows.
    pub fn new() -> Self {
        let person = Self { home: tempfile::tempdir().expect("a directory") };
        let home = person.path("");
        for directory in ["bin", "etc", "run", "tree", ".config/containers", ".cache"] {
            fs::create_dir_all(person.path(directory)).expect("it is ours");
        }
        let listed = |list: &str, line: String| {
            let known = fs::read_to_string(Path::new("/etc").join(list)).expect("the machine has users");
            fs::write(person.path("etc").join(list), known + &line).expect("it is ours");
        };
        listed("passwd", format!("{NAME}:x:{ID}:{ID}::{}:/bin/bash\n", home.display()));
        listed("group", format!("{NAME}:x:{ID}:\n"));
        listed("subuid", format!("{NAME}:{FIRST_SUBORDINATE}:65536\n"));
        listed("subgid", format!("{NAME}:{FIRST_SUBORDINATE}:65536\n"));
        // As Debian's package of these settings has it, which Podman's own does not depend on: by itself each layer of an image is a
        // copy of all that is below it.
        let storage = person.path(".config/containers/storage.conf");
        fs::write(storage, "[storage]\ndriver = \"overlay\"\n").expect("it is ours");
        for program in [Program::Healthd, Program::Lbd, Program::Vrrpd, Program::Tandemctl] {
            fs::copy(binary(program), person.path("bin").join(program.name())).expect("it is built");
        }
        person.prepare(
            "mknod -m 666 $1/tun c 10 200
             mknod -m 666 $1/fuse c 10 229
             git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t $1/tree
             scripts/base-image podman
             cp -a ${XDG_CACHE_HOME:-$HOME/.cache}/tandem $1/.cache 2>/dev/null || true
             chown -R $2:$2 $1/run $1/tree $1/.config $1/.cache",
        );
        chown(home, Some(ID), Some(ID)).expect("root may");
        person
    }

    /// Without numbers for the users in containers, or a network for these, the person is told what to do.
    pub fn is_told_what_is_missing(&self) {
        let refused = |advice: &str| {
            let output = self.types("make demo-1", &free_ports());
            assert!(
                !output.status.success() && text(&output).contains(advice),
                "{advice}: {}",
                text(&output)
            );
        };
        let numbers = self.path("etc/subuid");
        let known = fs::read(&numbers).expect("it was written");
        fs::write(&numbers, "").expect("it is ours");
        refused("usermod --add-subuids");
        fs::write(&numbers, known).expect("it is ours");
        let migrated = self.types("podman system migrate", &[]);
        assert!(migrated.status.success(), "{}", text(&migrated));

        let allow = |mode| fs::set_permissions(self.path("tun"), fs::Permissions::from_mode(mode));
        allow(0o600).expect("it is ours");
        refused("chmod 666 /dev/net/tun");
        allow(0o666).expect("it is ours");
    }

    /// Starts demo 1, and takes it down when it has served.
    pub fn runs_demo_1(&self) {
        let commands = "make demo-1
            scripts/demo stop nginx1
            scripts/load-test.sh -q http://localhost:$WEB_PORT 300 0.002
            scripts/demo kill lb lbd
            make demo-1-status
            make demo-1-down";
        self.sees_nothing_lost(commands);
    }

    /// Starts demo 2, does to it what asks something of Podman, and takes it down.
    pub fn runs_demo_2(&self) {
        let commands = "is_on() { timeout 30 bash -c \"until scripts/demo vip | grep -qE ' is on $1$'; do sleep 0.2; done\"; }
            make demo-2
            is_on lb1
            scripts/load-test.sh -q http://localhost:$WEB_PORT 400 0.01 >$HOME/load &
            scripts/demo stop lb1
            is_on lb2
            scripts/demo start lb1
            wait $!
            cat $HOME/load
            scripts/demo partition
            is_on 'lb1 lb2'
            scripts/demo heal
            is_on 'lb[12]'
            scripts/demo disconnect lb2
            is_on '.*lb1.*'
            scripts/demo connect lb2
            is_on 'lb[12]'
            make demo-2-down";
        self.sees_nothing_lost(commands);
    }

    fn sees_nothing_lost(&self, commands: &str) {
        let output = self.types(commands, &free_ports());
        let told = text(&output);
        assert!(output.status.success() && told.contains("Success rate 100.0%"), "{told}");
    }

    fn types(&self, commands: &str, ports: &[(&str, String)]) -> Output {
        let mut shell = self.command(Path::new("bash"));
        let output = shell.args(["-euc", commands]).env("ENGINE", "podman").envs(ports.to_owned()).output();
        output.expect("unshare is there")
    }

    fn prepare(&self, commands: &str) {
        let done = Command::new("bash")
            .args(["-euc", commands, "bash"])
            .arg(self.home.path())
            .arg(ID.to_string())
            .current_dir(root())
            .status();
        assert!(done.expect("bash is there").success(), "{commands}");
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "bash", "-c", BECOME, "bash"])
            .arg(self.home.path())
            .arg(program)
            .current_dir(self.path("tree"))
            .env("HOME", self.home.path())
            .env("USER", NAME)
            .env("LOGNAME", NAME)
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("TANDEM_BIN_DIR", self.path("bin"))
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME");
        command
    }

    fn path(&self, within: &str) -> PathBuf {
        self.home.path().join(within)
    }
}

/// Ports of the demos that are nobody's.
fn free_ports() -> Vec<(&'static str, String)> {
    let names = [
        "WEB_PORT",
        "WEB_TLS_PORT",
        "STATS_PORT",
        "HEALTHD_PORT",
        "PROMETHEUS_PORT",
        "STATS2_PORT",
        "VRRP_PORT",
        "VRRP2_PORT",
    ];
    names.into_iter().zip(free_addresses::<8>().map(|address| address.port().to_string())).collect()
}

impl Drop for Person {
    fn drop(&mut self) {
        // Images, containers of a test that failed, and the process that Podman leaves for the next time.
        let reset = self.command(Path::new("podman")).args(["system", "reset", "--force"]).output();
        eprintln!("--- podman system reset: {:?}", reset.map(|output| output.status));
    }
}
