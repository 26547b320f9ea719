//! What `make install` puts into a directory, and that `make uninstall` takes it away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Program, binary, needs};

use super::{repository, text};

#[test]
fn what_is_installed_is_complete_and_can_be_uninstalled() {
    needs!("make", "objcopy", "readelf");
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let make = |target: &str| {
        let output = Command::new("make")
            .args([
                "--no-print-directory",
                target,
                "PREFIX=/usr/local",
                &format!("DESTDIR={}", root.display()),
            ])
            .env("TANDEM_BIN_DIR", binary(Program::Lbd).parent().expect("it lies in a directory"))
            .current_dir(repository())
            .output()
            .expect("make starts");
        assert!(output.status.success(), "make {target}: {}", text(&output));
    };
    make("install");
    for file in [
        "usr/local/lib/tandem/aws-address",
        "usr/local/share/bash-completion/completions/tandemctl",
        "usr/local/share/doc/tandem/configuration.md",
        "usr/local/share/fish/vendor_completions.d/lbd.fish",
        "usr/local/share/man/man1/tandemctl-drain.1",
        "usr/local/share/man/man8/vrrpd.8",
        "usr/local/share/tandem/alerts.yml",
        "usr/local/share/zsh/site-functions/_healthd",
        "usr/lib/systemd/system/tandem-lbd.service",
    ] {
        let size = fs::metadata(root.join(file)).map(|metadata| metadata.len());
        assert!(size.as_ref().is_ok_and(|size| *size > 100), "{file}: {size:?}");
    }
    for program in ["healthd", "lbd", "vrrpd", "tandemctl"] {
        let installed = root.join("usr/local/bin").join(program);
        let version = Command::new(&installed).arg("--version").output().expect("it starts");
        assert!(text(&version).starts_with(program), "{}", text(&version));
        let sections =
            Command::new("readelf").arg("--sections").arg(&installed).output().expect("readelf starts");
        let sections = text(&sections);
        assert!(sections.contains(".gnu_debuglink") && !sections.contains(".symtab"), "{sections}");
        let symbols = root.join("usr/lib/debug/usr/local/bin").join(format!("{program}.debug"));
        assert!(symbols.is_file(), "{}", symbols.display());
    }

    fs::write(root.join("etc/tandem/lb.yaml"), "# mine").expect("it can be written");
    make("uninstall");
    let left: Vec<PathBuf> =
        files(root).into_iter().map(|file| file.strip_prefix(root).expect("below").to_owned()).collect();
    assert_eq!(left, [Path::new("etc/tandem/lb.yaml"), Path::new("etc/tandem/vrrp.yaml")]);
}

/// All files below a directory, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .expect("it can be read")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    entries.sort();
    entries.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
