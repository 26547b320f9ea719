use wire::Info;

use super::*;
use crate::view::sample;

/// The page of everything, or of some of it.
fn page(info: &Info, rows: &[StatRow], certificates: &[CertificateRow], healthd: HealthdLink) -> String {
    let routes = sample::routes();
    render(&View { info, rows, routes: &routes, certificates, healthd, now: 1_790_000_000 })
}

fn html() -> String {
    page(&sample::info(), &sample::rows(), &sample::certificates(), HealthdLink::Connected)
}

#[test]
fn grep_finds_each_server_with_its_status_on_one_line() {
    let html = html();
    for (server, status) in
        [("nginx1", "UP"), ("nginx2", "DOWN"), ("nginx3", "UP 2/3"), ("files", "DOWN"), ("mirror", "DRAIN")]
    {
        let lines: Vec<&str> = html.lines().filter(|line| line.contains(&format!(">{server}<"))).collect();
        assert_eq!(lines.len(), 1, "{server}");
        assert!(lines[0].contains(&format!("</svg>{status}</span>")), "{}", lines[0]);
    }
}

#[test]
fn a_server_has_its_numbers_in_its_row() {
    insta::assert_snapshot!(server_row(&sample::rows()[2], 1_203_456).into_string());
}

#[test]
fn the_headline_says_the_worst_first() {
    let html = html();
    assert!(html.contains("<title>assets: no usable server, clients get 503 · lbd</title>"), "{html}");
    assert!(html.contains("<h1 class=\"bad\">"), "{html}");
}

#[test]
fn doubts_about_healthd_and_the_configuration_are_told() {
    assert!(!html().contains("healthd"), "a connected healthd is no news");
    let info = Info { reload_error: Some("lb.yaml:7:3: error: unknown key".into()), ..sample::info() };
    let html = page(&info, &sample::rows(), &[], HealthdLink::Lost(Duration::from_secs(12)));
    assert!(html.contains("using its last verdicts, which are 12 s old"), "{html}");
    assert!(html.contains("lb.yaml:7:3: error: unknown key"), "{html}");
    let differs = page(&info, &[], &[], HealthdLink::Differs(Duration::from_secs(5)));
    assert!(differs.contains("running another configuration for 5 s"), "{differs}");
    let never = page(&info, &[], &[], HealthdLink::Never(Duration::from_secs(4)));
    assert!(never.contains("has not answered for 4 s"), "{never}");
}

#[test]
fn names_and_texts_are_escaped() {
    let mut rows = sample::rows();
    for row in &mut rows {
        let evil = format!("\"><script>alert('{}')</script>", row.name);
        row.proxy = "a\" onmouseover=\"x".into();
        row.reason = evil.clone();
        row.status = evil.clone();
        row.name = evil;
    }
    let mut certificates = sample::certificates();
    let CertificateRow { file, issuer, names, .. } = &mut certificates[0];
    for text in [file, issuer, &mut names[0]] {
        *text = "\"><script>alert('certificate')</script>".into();
    }
    let html = page(&sample::info(), &rows, &certificates, HealthdLink::Connected);
    assert!(!html.contains("<script>alert") && !html.contains("\" onmouseover=\""), "{html}");
}

#[test]
fn certificates_that_end_stand_out_and_those_that_clients_refuse_come_first() {
    let of = |not_after, address: u16| CertificateRow {
        not_after,
        soon_from: not_after - 1_000_000,
        address: ([0, 0, 0, 0], address).into(),
        names: (0..6).map(|number| format!("{number}.example")).collect(),
        file: format!("/etc/{not_after}.pem"),
        ..sample::certificates().remove(0)
    };
    let html = |rows: &[CertificateRow]| page(&sample::info(), &[], rows, HealthdLink::Connected);
    let line =
        |html: &str, word: &str| html.lines().filter(|line| line.contains(word)).collect::<Vec<_>>().concat();

    let good = html(&[of(1_799_000_000, 443)]);
    assert!(line(&good, "104 days left").contains("<tr role=\"row\" data-tone=\"good\">"), "{good}");
    assert!(line(&good, "104 days left").contains("0.example, 1.example, 2.example and 3 more"));
    assert!(!good.contains("to be renewed") && !good.contains("Clients refuse"), "{good}");

    let soon = html(&[of(1_799_000_000, 443), of(1_790_200_000, 443), of(1_790_200_000, 444)]);
    assert!(soon.contains("1 of 2 certificates"), "one that is presented twice is one: {soon}");
    assert!(line(&soon, "2 days left").contains("data-tone=\"warning\""), "{soon}");
    assert!(line(&soon, "2 days left").contains("0.0.0.0:443, 0.0.0.0:444"), "{soon}");
    assert!(!soon.contains("Clients refuse"), "{soon}");

    let over = html(&[of(1_799_000_000, 443), of(1_789_999_999, 443)]);
    assert!(line(&over, ">expired<").contains("data-tone=\"bad\""), "{over}");
    assert!(over.contains("Clients refuse the certificate of 0.example: it has expired."), "{over}");
    assert!(!page(&sample::info(), &[], &[], HealthdLink::Connected).contains("Certificates"));
}

#[test]
fn every_cell_of_a_server_is_under_its_header() {
    let html = html();
    let table = html.split("<table").nth(1).unwrap();
    let headers: Vec<&str> =
        table.split("<th ").skip(1).take_while(|cell| cell.contains("scope=\"col\"")).map(text_of).collect();
    let row = table.lines().find(|line| line.contains(">nginx1<")).unwrap();
    let labels: Vec<&str> =
        row.split("data-label=\"").skip(1).map(|cell| cell.split('"').next().unwrap()).collect();
    assert_eq!(headers[1..], labels[..]);
    let cells = |row: &str| row.matches("<td ").count();
    let total = table.lines().find(|line| line.contains("All servers")).unwrap();
    assert_eq!(cells(total), cells(row));
}

/// The text of a cell that has nothing but text in it.
fn text_of(cell: &str) -> &str {
    cell.split_once('>').unwrap().1.split('<').next().unwrap()
}

#[test]
fn shares_are_rounded_and_never_divide_by_zero() {
    assert_eq!((percent(1, 3), percent(2, 3), percent(0, 0), percent(u64::MAX, u64::MAX)), (33, 67, 0, 100));
}
