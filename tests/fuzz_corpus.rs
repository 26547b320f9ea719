//! The inputs that are kept for the fuzz targets still break nothing. `make fuzz` looks for more.

use std::fs;
use std::path::Path;

#[path = "fuzz/src/lib.rs"]
mod targets;

#[test]
fn what_is_kept_breaks_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders = 0;
    for (name, target) in targets::TARGETS {
        folders += 1;
        let inputs = fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut ran = 0;
        for input in inputs {
            let path = input.expect("a folder of this repository").path();
            let bytes = fs::read(&path).expect("a file of this repository");
            println!("{}", path.display());
            target(&bytes);
            // Cut short, it is another input.
            for end in 0..bytes.len().min(400) {
                target(&bytes[..end]);
            }
            ran += 1;
        }
        assert!(ran > 0, "nothing is kept for {name}");
    }
    assert_eq!(folders, fs::read_dir(&corpus).expect("a folder of this repository").count());
}
