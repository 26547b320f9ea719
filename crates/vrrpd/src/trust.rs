//! Whether a program may be run with vrrpd's rights: nobody but root and vrrpd's own user may be able to change it, or to put
//! another one in its place.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

/// Links that one path may lead through, as in the kernel.
const LINKS: usize = 40;
/// Permission bits: write for the group, write for others, and that entries are their owners' alone.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Who could change what would be run, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Distrust {
    /// Who may change which file.
    pub(crate) why: String,
    /// What to do.
    pub(crate) help: String,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.why, self.help)
    }
}

/// Judges a program by its absolute path: the file, each directory and each link on the way. What is not there, or out of reach,
/// cannot be run anyway.
///
/// # Errors
/// Who else may change it.
pub(crate) fn judge(program: &Path) -> Result<(), Distrust> {
    let mut at = PathBuf::from("/");
    let mut rest = parts(program);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let Ok(metadata) = fs::symlink_metadata(&next) else { return Ok(()) };
        only_ours(&next, &metadata)?;
        if !metadata.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        let Ok(target) = fs::read_link(&next) else { return Ok(()) };
        if links > LINKS {
            return Ok(());
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        rest.extend(parts(&target));
    }
    Ok(())
}

/// The parts of a path below its root, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let is_part = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().rev().filter(is_part).map(|part| PathBuf::from(part.as_os_str())).collect()
}

fn only_ours(path: &Path, metadata: &Metadata) -> Result<(), Distrust> {
    let (mode, shown) = (metadata.mode(), path.display());
    let owner = Uid::from_raw(metadata.uid());
    if !owner.is_root() && owner != Uid::effective() {
        let name = User::from_uid(owner).ok().flatten().map_or_else(|| owner.to_string(), |user| user.name);
        let why = format!("{shown} belongs to the user {name}, who may change it");
        return Err(Distrust { why, help: format!("give it to root (chown root {shown})") });
    }
    // Links have no mode of their own. In a directory such as /tmp entries are as safe as their owners, who are looked at next.
    if metadata.is_symlink() || metadata.is_dir() && mode & STICKY != 0 {
        return Ok(());
    }
    let group = Gid::from_raw(metadata.gid());
    if mode & OTHERS_WRITE != 0 {
        let help = format!("take that away (chmod o-w {shown})");
        Err(Distrust { why: format!("{shown} may be changed by everybody"), help })
    } else if mode & GROUP_WRITES != 0 && group.as_raw() != 0 {
        let name =
            Group::from_gid(group).ok().flatten().map_or_else(|| group.to_string(), |group| group.name);
        let help = format!("take that away (chmod g-w {shown})");
        Err(Distrust { why: format!("{shown} may be changed by the group {name}"), help })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    const NOBODY: u32 = 65_534;

    fn why(path: &Path) -> String {
        judge(path).err().map(|distrust| distrust.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_others_may_change_is_not_run() {
        let home = tempfile::tempdir().unwrap();
        let (dir, file) = (home.path().join("dir"), home.path().join("dir/hook"));
        let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(&file, "").unwrap();
        let link = home.path().join("link");
        symlink("dir/../dir/hook", &link).unwrap();
        let modes = |of_dir, of_file| {
            set(&dir, of_dir);
            set(&file, of_file);
            (why(&file), why(&link))
        };
        let good = || (String::new(), String::new());
        assert_eq!(modes(0o755, 0o755), good());
        assert_eq!(modes(0o1777, 0o755), good(), "as in /tmp, entries are their owners'");
        let (direct, linked) = modes(0o755, 0o757);
        assert!(direct.contains("hook may be changed by everybody: take that away (chmod o-w "), "{direct}");
        assert_eq!(direct, linked);
        let (direct, linked) = modes(0o757, 0o755);
        assert!(direct.contains("dir may be changed by everybody"), "{direct}");
        assert_eq!(direct, linked);

        if Uid::effective().is_root() {
            chown(&file, None, Some(NOBODY)).unwrap();
            assert!(modes(0o755, 0o775).0.contains("may be changed by the group nogroup"));
            assert_eq!(modes(0o755, 0o755), good());
            chown(&file, Some(NOBODY), None).unwrap();
            let (direct, linked) = modes(0o755, 0o755);
            assert!(
                direct.contains("belongs to the user nobody") && direct.contains("chown root"),
                "{direct}"
            );
            assert_eq!(direct, linked);
        }
        fs::remove_file(&file).unwrap();
        assert_eq!((why(&file), why(&link)), good(), "that it is not there is found when it is run");
    }

    #[test]
    fn links_without_an_end_are_followed_no_further_than_the_kernel_does() {
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("link");
        symlink("link", &link).unwrap();
        assert_eq!(judge(&link), Ok(()));
    }
}
