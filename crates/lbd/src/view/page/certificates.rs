//! The certificates that are presented: whom they are for, how long they last, and where they are from.

use std::net::SocketAddr;

use daemon::page::{LINE, badge, banner, class};
use maud::{Markup, html};
use wire::{Tone, human};

use crate::view::certificates::{CertificateRow, Standing};

/// More of them are for `show certificates`.
const MAX_ROWS: usize = 200;
/// The most names of one that are shown.
const MAX_NAMES: usize = 3;
/// The most addresses at which one is presented that are shown.
const MAX_ADDRESSES: usize = 4;

/// A certificate, wherever a frontend presents it.
struct Presented<'a> {
    row: &'a CertificateRow,
    addresses: Vec<SocketAddr>,
}

/// What clients refuse is told before all else.
pub(super) fn warning(rows: &[CertificateRow], now: i64) -> Markup {
    let refused = rows.iter().find(|row| tone(row.standing(now)) == Tone::Bad);
    html! {
        @if let Some(row) = refused {
            (banner(Tone::Bad, &format!(
                "Clients refuse the certificate of {}: it {}.",
                row.names.first().map_or(row.file.as_str(), String::as_str),
                if row.standing(now) == Standing::Over { "has expired" } else { "is not valid yet" }
            )))
        }
    }
}

/// Those that end first stand at the top.
pub(super) fn section(rows: &[CertificateRow], now: i64) -> Markup {
    let all = presented(rows);
    let worst = all.first().map_or(Tone::Good, |first| tone(first.row.standing(now)));
    let ending = all.iter().filter(|one| tone(one.row.standing(now)) != Tone::Good).count();
    html! {
        section data-tone=(class(worst)) aria-labelledby="certificates" {
            header {
                h2 #certificates { "Certificates" }
                @if ending > 0 { (badge(worst, &human::part(ending, all.len(), "certificate"))) span .note { "to be renewed" } }
                @if all.len() > MAX_ROWS {
                    span .note { "the first " (MAX_ROWS) " of " (all.len()) "; `show certificates` on the socket has all" }
                }
            }
            table .wide .certificates role="table" {
                caption .unseen { "Certificates that are presented" }
                thead role="rowgroup" {
                    tr role="row" {
                        th scope="col" { "Certificate" }
                        th .text scope="col" { "Status" }
                        th .text scope="col" { "Key" }
                        th .text scope="col" { "OCSP staple" }
                        th .text scope="col" { "From" }
                    }
                }
                (LINE)
                tbody role="rowgroup" {
                    @for one in all.iter().take(MAX_ROWS) { (line(one, now)) (LINE) }
                }
            }
        }
        (LINE)
    }
}

fn line(Presented { row, addresses }: &Presented<'_>, now: i64) -> Markup {
    let standing = row.standing(now);
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    html! {
        tr role="row" data-tone=(class(tone(standing))) {
            th role="rowheader" scope="row" {
                (some(&row.names, MAX_NAMES, "no name"))
                small { (row.frontend) ", " (some(&addresses, MAX_ADDRESSES, "")) }
            }
            td .text role="cell" data-label="Status" {
                (badge(tone(standing), &standing.to_string()))
                small { "until " (certificates::day(row.not_after)) }
            }
            td .text .more role="cell" data-label="Key" { (row.key) }
            td .text .more role="cell" data-label="OCSP staple" {
                @match row.staple {
                    Some(until) => { "until " (certificates::day(until)) }
                    None => { span .zero { "none" } }
                }
            }
            td .text .more role="cell" data-label="From" { (row.file) small { "signed by " (row.issuer) } }
        }
    }
}

/// Each certificate of a frontend once, those that end first at the top.
fn presented(rows: &[CertificateRow]) -> Vec<Presented<'_>> {
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by_key(|row| (row.not_after, &row.frontend, &row.file, row.address));
    let mut all: Vec<Presented<'_>> = Vec::new();
    for row in sorted {
        match all.last_mut() {
            Some(last) if last.row.is_the_same(row) => last.addresses.push(row.address),
            _ => all.push(Presented { row, addresses: vec![row.address] }),
        }
    }
    all
}

const fn tone(standing: Standing) -> Tone {
    match standing {
        Standing::Early | Standing::Over => Tone::Bad,
        Standing::Soon(_) => Tone::Warning,
        Standing::Good(_) => Tone::Good,
    }
}

/// The first of some texts, and how many more there are.
fn some(texts: &[String], most: usize, none: &str) -> String {
    let mut shown = texts.get(..most.min(texts.len())).unwrap_or_default().join(", ");
    if texts.is_empty() {
        shown.push_str(none);
    } else if texts.len() > most {
        shown.push_str(&format!(" and {} more", human::count((texts.len() - most) as u64)));
    }
    shown
}
