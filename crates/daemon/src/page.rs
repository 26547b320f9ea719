//! The frame that every daemon's admin page shares: layout, style sheet, refresh.
//!
//! A page is complete as it is sent, so that `curl` and browsers without scripts read the same. A script then fetches
//! it again every second and replaces its main part, which does not flicker, and says so when no answer comes.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use wire::{Info, LifeState, Tone, human};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/refresh.js");

/// The `Content-Security-Policy` to serve pages with: nothing but their own style sheet and script, by their hashes.
pub const CONTENT_SECURITY_POLICY: &str = concat!(
    "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'; style-src 'sha256-Kh9wc3nYKpHXf+EzE34pVGe725+us/jlla0mSWy35lE='; script-src 'sha256-QlwrWOe0pAJoDKvtpmZLWdq0r2pOvh3WbFumsWl//D8='",
);

/// A page before it is put into its frame.
pub struct Page<'a> {
    /// The daemon's name.
    pub daemon: &'a str,
    /// What a person should know first; also the window's title.
    pub headline: &'a str,
    /// How good or bad that is.
    pub tone: Tone,
    /// Links to the daemon's other addresses: text and target.
    pub links: &'a [(&'a str, &'a str)],
    /// What follows the headline.
    pub body: Markup,
}

impl Page<'_> {
    /// The whole document.
    pub fn render(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.headline) " · " (self.daemon) }
                    link rel="icon" href=(favicon(self.tone));
                    noscript { meta http-equiv="refresh" content="2"; }
                    style { (PreEscaped(STYLE)) }
                }
                (LINE)
                body {
                    // On a telephone what matters most is shown, and this unfolds the rest.
                    input #all .unseen type="checkbox";
                    header {
                        b { "Tandem " (self.daemon) }
                        nav aria-label="Other forms of this page" {
                            label for="all" { "all figures" }
                            @for (text, target) in self.links { a href=(target) { (text) } }
                        }
                    }
                    p #said .unseen role="status" {}
                    (LINE)
                    p #lost .banner .bad role="alert" hidden {}
                    main {
                        h1 .(class(self.tone)) { (icon(self.tone)) (self.headline) }
                        (LINE)
                        (self.body)
                    }
                    (LINE)
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
        .into_string()
    }
}

/// A line's end. Each row stands on a line of its own, for those who read the page with `grep`.
pub const LINE: PreEscaped<&str> = PreEscaped("\n");

/// A status: shape, word and colour, each of which says it alone.
pub fn badge(tone: Tone, word: &str) -> Markup {
    html! { span .badge .(class(tone)) { (icon(tone)) (word) } }
}

/// A line that must not be overlooked.
pub fn banner(tone: Tone, text: &str) -> Markup {
    html! { p .banner .(class(tone)) { (icon(tone)) span { (text) } } (LINE) }
}

/// The daemon's version, state, uptime and configuration; then, if its last reload was refused, why.
pub fn facts(info: &Info) -> Markup {
    html! {
        p .facts {
            span { (info.daemon) " " b { (info.version) } }
            span { "up " b { (human::duration(info.uptime_ms)) } }
            @if info.state != LifeState::Ready { span { "state " b { (info.state.word()) } } }
            span { "process " b { (info.pid) } }
            span { "configuration " b { (info.config) } ", generation " b { (info.generation) } }
        }
        (LINE)
        @if let Some(error) = &info.reload_error {
            (banner(Tone::Bad, &format!("The last reload was refused; the configuration before it is in force.\n{error}")))
        }
    }
}

/// The class of the style sheet that stands for a tone.
pub const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Paused => "paused",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
    }
}

/// A round tick, a round pause, a triangle, or a square cross.
fn icon(tone: Tone) -> Markup {
    html! { svg .icon viewBox="0 0 16 16" aria-hidden="true" { path fill-rule="evenodd" d=(shape(tone)) {} } }
}

const fn shape(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "M8 0a8 8 0 1 1 0 16A8 8 0 0 1 8 0zm-1.2 11.6 5.6-5.6-1.5-1.5-4.1 4.1-1.9-1.9L3.4 8.2z",
        Tone::Paused => "M8 0a8 8 0 1 1 0 16A8 8 0 0 1 8 0zM5 4.5v7h2v-7zm4 0v7h2v-7z",
        Tone::Warning => "M8 .5 16 15H0zM7.1 5.5v5h1.8v-5zm0 6v1.8h1.8v-1.8z",
        Tone::Bad => {
            "M1 0h14l1 1v14l-1 1H1l-1-1V1zm3.3 5.6L6.7 8l-2.4 2.4 1.3 1.3L8 9.3l2.4 2.4 1.3-1.3L9.3 8l2.4-2.4\
             -1.3-1.3L8 6.7 5.6 4.3z"
        }
    }
}

/// The tone as an icon for the window's tab; its colours suit dark and light.
fn favicon(tone: Tone) -> String {
    let colour = match tone {
        Tone::Good => "2da44e",
        Tone::Paused => "4a86e8",
        Tone::Warning => "d4a017",
        Tone::Bad => "e5484d",
    };
    let shape = shape(tone);
    format!(
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>\
         <path fill='%23{colour}' fill-rule='evenodd' d='{shape}'/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// The hash as browsers want it, made by the system's own tools.
    fn hash(text: &str) -> String {
        let mut shell = Command::new("sh")
            .args(["-c", "sha256sum | cut -c1-64 | tr a-f A-F | basenc -d --base16 | base64"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn the_policy_admits_the_style_sheet_and_the_script() {
        for text in [STYLE, SCRIPT] {
            let source = format!("'sha256-{}'", hash(text));
            assert!(CONTENT_SECURITY_POLICY.contains(&source), "the policy needs {source}");
        }
    }

    #[test]
    fn a_page_escapes_what_it_is_given_and_runs_nothing_inline() {
        let evil = "<script>alert(1)</script>";
        let html = Page {
            daemon: "lbd",
            headline: evil,
            tone: Tone::Bad,
            links: &[(evil, "\" onclick=\"x")],
            body: html! { (badge(Tone::Good, evil)) (banner(Tone::Warning, evil)) },
        }
        .render();
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(!html.contains("\" onclick=\""), "{html}");
        assert_eq!(html.matches("<script>").count(), 1);
    }

    #[test]
    fn a_refused_reload_is_told() {
        let info = Info {
            daemon: "healthd".into(),
            version: "0.1.0".into(),
            pid: 1,
            uptime_ms: 61_000,
            state: LifeState::Draining,
            config: "lb.yaml".into(),
            generation: 1,
            reload_error: Some("lb.yaml:3:1: error: no <such> key".into()),
            details: Default::default(),
        };
        let html = facts(&info).into_string();
        for wanted in ["1 min 1 s", "draining", "no &lt;such&gt; key", "generation <b>1</b>"] {
            assert!(html.contains(wanted), "{wanted} is missing in {html}");
        }
    }
}
