//! The commands that documents have people type, typed: each has to work, and to say what the text promises. This happens in
//! network namespaces; what documents promise is the same in every engine.

mod compare;
mod markdown;
mod workplace;

use testkit::{is_root, needs, skip};

use workplace::{Document, Workplace};

const INSTALLS: (&str, &str) = ("make build && sudo make install", "tests/services.rs installs");

fn follow(document: &Document) {
    if !is_root() {
        skip!("network namespaces need root");
    }
    needs!("git", "curl", "openssl");
    match Workplace::new("netns") {
        Ok(place) => place.follow(document),
        Err(reason) => skip!("{reason}"),
    }
}

#[test]
fn the_workshop_keeps_its_promises_with_demo_1() {
    follow(&Document { path: "docs/workshop.md", chapter: "Demo 1", ..Document::default() });
}

#[test]
fn the_workshop_keeps_its_promises_with_demo_2() {
    follow(&Document { path: "docs/workshop.md", chapter: "Demo 2", ..Document::default() });
}

#[test]
fn the_workshop_keeps_its_promises_with_demo_3() {
    needs!("bird");
    follow(&Document { path: "docs/workshop.md", chapter: "Demo 3", ..Document::default() });
}

#[test]
fn the_guide_to_production_keeps_its_promises() {
    follow(&Document {
        path: "docs/production.md",
        elsewhere: &[
            INSTALLS,
            ("sudoedit", "it waits for an editor"),
            ("head -c 33 /dev/urandom", "the demo has a key"),
            ("scp lb2:", "the demo's nodes have both files"),
            ("cat $RENEWED_LINEAGE", "nobody here renews a certificate"),
            ("sudo systemctl enable", "tests/units starts the units"),
        ],
        before: &[("tandemctl check /etc/tandem/vrrp.yaml", "make demo-2")],
        ..Document::default()
    });
}

#[test]
fn the_first_page_keeps_its_promises() {
    needs!("bird");
    follow(&Document {
        path: "README.md",
        elsewhere: &[INSTALLS, ("make test", "it is what runs this")],
        before: &[("tandemctl check lb.yaml", "make demo-2")],
        ..Document::default()
    });
}
