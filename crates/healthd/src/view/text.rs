//! Answers of the socket as text, in HAProxy's manner: tables with a `#` line of names, `-` for nothing.

use std::fmt::Write;

use wire::LifeState;
use wire::text::{self, Command};

use super::Seen;

/// Every command, as `help` shows it.
const COMMANDS: &[Command] = &[
    Command { usage: "help", help: "This list." },
    Command { usage: "show info", help: "healthd itself." },
    Command { usage: "show servers state [BACKEND]", help: "Every server's verdict and last check." },
    Command { usage: "show stat [BACKEND]", help: "The same." },
    Command { usage: "show resolvers", help: "Every name, its addresses, and why it has none." },
    Command { usage: "show discovery", help: "Where servers are found, and what the last answer was." },
    Command { usage: "show backend", help: "The names of all backends." },
    Command { usage: "reload", help: "Read the configuration again." },
];

/// The answer to a text command that only asks.
pub fn answer(command: &str, seen: &Seen) -> String {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["help"] => text::help(COMMANDS),
        ["show", "info"] => show_info(seen),
        ["show", "servers", "state"] | ["show", "stat"] => show_servers(seen, None),
        ["show", "servers", "state", backend] | ["show", "stat", backend] => {
            match seen.backends().contains(backend) {
                true => show_servers(seen, Some(backend)),
                false => unknown_backend(seen, backend),
            }
        }
        ["show", "resolvers"] => show_resolvers(seen),
        ["show", "discovery"] => show_discovery(seen),
        ["show", "backend"] => show_backend(seen),
        _ => text::unknown(command, COMMANDS),
    }
}

fn unknown_backend(seen: &Seen, backend: &str) -> String {
    let backends = seen.backends();
    let hint = config::nearest(backend, backends.iter().copied())
        .map(|word| format!(" (did you mean `{word}`?)"))
        .unwrap_or_default();
    format!("No backend `{backend}`{hint}; there are: {}.\n", backends.join(", "))
}

fn show_info(seen: &Seen) -> String {
    let info = &seen.info;
    let seconds = info.uptime_ms / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // A value of several lines would look like several values.
        _ = writeln!(text, "{name}: {}", one_line(value));
    };
    line("Name", &info.daemon);
    line("Version", &info.version);
    line("Pid", &info.pid.to_string());
    line("Uptime", &format!("{days}d {hours}h{:02}m{:02}s", seconds / 60 % 60, seconds % 60));
    line("Uptime_sec", &seconds.to_string());
    line("Stopping", if info.state == LifeState::Stopping { "1" } else { "0" });
    line("State", info.state.word());
    line("Config", &info.config);
    line("Config_generation", &info.generation.to_string());
    if let Some(error) = &info.reload_error {
        line("Reload_error", error);
    }
    for (name, value) in &info.details {
        line(name, value);
    }
    text
}

fn show_servers(seen: &Seen, backend: Option<&str>) -> String {
    let mut text = String::from(
        "# be_name srv_name status addr check_status check_code check_duration_ms check_age_ms streak rise fall \
         since_ms check_failures downs downtime_ms admin_state \"text\"\n",
    );
    for server in
        seen.servers.iter().filter(|server| backend.is_none_or(|name| server.verdict.backend == name))
    {
        let verdict = &server.verdict;
        let check = verdict.check.as_ref();
        let reason =
            verdict.resolve_error.as_deref().or(check.map(|check| check.text.as_str())).unwrap_or_default();
        _ = writeln!(
            text,
            "{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} \"{}\"",
            verdict.backend,
            verdict.server,
            server.status().replace(' ', "_"),
            or_dash(verdict.address),
            or_dash(check.map(|check| check.code)),
            or_dash(check.and_then(|check| check.http_status)),
            or_dash(check.map(|check| check.duration_ms)),
            or_dash(check.map(|check| check.age_ms)),
            verdict.streak,
            verdict.rise,
            verdict.fall,
            verdict.since_ms,
            verdict.failed_checks,
            verdict.downs,
            verdict.downtime_ms,
            server.admin_state(),
            one_line(reason).replace('"', "'"),
        );
    }
    text
}

fn show_resolvers(seen: &Seen) -> String {
    let mut text = String::from("# name addresses next_query_ms resolved failed \"error\"\n");
    for name in &seen.names {
        let addresses: Vec<String> = name.addresses.iter().map(ToString::to_string).collect();
        _ = writeln!(
            text,
            "{} {} {} {} {} \"{}\"",
            name.name,
            if addresses.is_empty() { "-".to_owned() } else { addresses.join(",") },
            name.next_query_ms,
            name.resolved,
            name.failed,
            one_line(name.error.as_deref().unwrap_or_default()),
        );
    }
    text
}

fn show_discovery(seen: &Seen) -> String {
    let mut text = String::from(
        "# be_name members max missing surplus answer_age_ms answers failures \"source\" \"trouble\"\n",
    );
    for found in &seen.discoveries {
        _ = writeln!(
            text,
            "{} {} {} {} {} {} {} {} \"{}\" \"{}\"",
            found.backend,
            found.members,
            found.max,
            found.missing,
            found.surplus,
            or_dash(found.answer_age_ms),
            found.answers,
            found.failures,
            one_line(&found.source).replace('"', "'"),
            one_line(found.trouble.as_deref().unwrap_or_default()).replace('"', "'"),
        );
    }
    text
}

fn show_backend(seen: &Seen) -> String {
    let mut text = String::from("# name\n");
    for backend in seen.backends() {
        _ = writeln!(text, "{backend}");
    }
    text
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn servers_have_a_field_for_every_name() {
        let text = answer("show servers state", &sample::seen());
        assert_eq!(text, answer("  show   stat ", &sample::seen()));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 7);
        let names = lines[0].trim_start_matches("# ").split(' ').count();
        for line in &lines[1..] {
            let (fields, quoted) = line.split_once(" \"").unwrap();
            assert_eq!(fields.split(' ').count() + 1, names, "{line}");
            assert!(quoted.ends_with('"'), "{line}");
        }
        assert_eq!(
            lines[2],
            "nginx nginx2 UP_2/3 10.0.0.11:80 L7STS 503 3 1200 1 2 3 61000 1 0 0 ready \"503, expected 200\""
        );
        assert_eq!(
            lines[3],
            "nginx nginx3 DOWN - SOCKERR - 3 1200 0 2 3 61000 0 2 90500 ready \
             \"nginx3: no such host (NXDOMAIN from 127.0.0.11)\""
        );
        assert_eq!(lines[6], "db db1 INI 10.0.0.11:80 - - - - 0 2 3 61000 0 0 0 ready \"\"");
    }

    #[test]
    fn one_backend_only() {
        let text = answer("show stat db", &sample::seen());
        assert_eq!(text.lines().count(), 2);
        let wrong = answer("show servers state nginy", &sample::seen());
        assert_eq!(wrong, "No backend `nginy` (did you mean `nginx`?); there are: nginx, db.\n");
    }

    #[test]
    fn names_backends_and_the_process() {
        let seen = sample::seen();
        assert_eq!(answer("show backend", &seen), "# name\nnginx\ndb\n");
        let names = answer("show resolvers", &seen);
        assert!(names.contains("\nnginx1 10.0.0.11,fd00::11 9000 12 0 \"\"\n"), "{names}");
        assert!(names.contains("\nnginx3 - 1000 0 4 \"nginx3: no such host"), "{names}");
        let found = answer("show discovery", &seen);
        let api = "api 0 100 0 0 61000 7 2 \"srv _http._tcp.api.example.org\" \"no answer from 192.0.2.53 in 1000 ms\"";
        assert_eq!(found.lines().nth(1), Some(api));
        let info = answer("show info", &seen);
        for line in
            ["Name: healthd", "Uptime: 0d 1h02m03s", "State: ready", "Config_generation: 2", "servers: 6"]
        {
            assert!(info.lines().any(|found| found == line), "{line} is missing in\n{info}");
        }
        assert!(info.contains("Reload_error: lb.yaml:3:1: error: unknown key help: did you mean"), "{info}");
    }

    #[test]
    fn unknown_commands_are_told_what_there_is() {
        let text = answer("show sess", &sample::seen());
        assert!(text.contains("show servers state [BACKEND]"), "{text}");
        let help = answer("help", &sample::seen());
        for command in COMMANDS {
            assert!(help.contains(command.usage), "{help}");
        }
        // What does something is not answered here.
        for command in COMMANDS.iter().filter(|command| command.usage.starts_with("show ")) {
            let typed = command.usage.replace(" [BACKEND]", "");
            assert!(!answer(&typed, &sample::seen()).starts_with("Unknown"), "{typed}");
        }
    }
}
