//! `netjobs plan` in networks of its own: what it counts, what it warns of, and that it sends nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;

use super::pair;
use crate::{netns::Namespace, program::netjobs};

/// The lines of `plan --json` about these sweeps and pings, one job an entry.
#[track_caller]
fn plan(namespace: &Namespace, jobs: &[&str], through: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let job = |(number, kind): (usize, &&str)| format!("  - {{ name: job{number}, every: 1h, {kind} }}\n");
    let text: String = jobs.iter().enumerate().map(job).collect();
    let file = folder.path().join("jobs.yaml");
    fs::write(&file, format!("jobs:\n{text}")).unwrap();
    // Whoever it runs as may read it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("hosts"), "10.77.0.1-10\nprinter.invalid\n").unwrap();
    let mut command = netjobs(&["plan", file.to_str().unwrap(), "--json"]);
    if let [first, rest @ ..] = through {
        let mut outer = Command::new(first);
        outer.args(rest).arg(command.get_program()).args(command.get_args());
        command = outer;
    }
    let output = namespace.run(move || command.output().unwrap());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn messages(line: &Value) -> String {
    let notes = line["notes"].as_array().unwrap().iter();
    notes.map(|note| note["message"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Packets that ever left by an interface other than `lo`.
fn sent(namespace: &Namespace) -> String {
    // /sys shows the interfaces of the namespace in which it was mounted.
    namespace.sh("awk '/:/ && !/ lo:/ { print $1, $11 }' /proc/net/dev")
}

#[test]
fn a_plan_counts_what_files_interfaces_and_links_make_of_it_and_sends_nothing() {
    let (ours, peer) = pair();
    let (device, _) = ours.link(&["10.60.0.1/20"], &peer, &["10.60.0.2/20"]);
    // The kernel's own first words on a new link are over; of IPv6 there are more for some seconds.
    ours.sh("ping -q -c 1 -W 5 10.60.0.2; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    let before = sent(&ours);
    let interface = format!("sweep: {{ targets: ['iface:{device}'], passes: 1 }}");
    let lines = plan(
        &ours,
        &[
            &interface,
            "sweep: { targets: ['@hosts', db.invalid, 10.60.0.7], exclude: 10.77.0.10, method: icmp }",
            "sweep: { targets: 10.60.0.0/20, edges: include, method: tcp/22 }",
            "ping: { host: gateway.invalid, count: 7 }",
        ],
        &[],
    );
    assert_eq!((&lines[0]["targets"], &lines[0]["on_link"]), (&4094.into(), &4094.into()));
    assert_eq!(
        messages(&lines[0]),
        "",
        "hosts of links are asked by ARP, whatever room the kernel has for them"
    );
    let second = ["targets", "names", "on_link", "packets_max"].map(|key| lines[1][key].as_u64().unwrap());
    assert_eq!(second, [12, 2, 1, 2 * (11 + 2)]);
    assert_eq!(messages(&lines[1]), "");
    assert!(messages(&lines[2]).contains("10.60.15.255 is a broadcast address"));
    assert!(lines[2]["open_files_max"].is_null(), "raw SYNs take no descriptors");
    assert_eq!((&lines[3]["packets_max"], &lines[3]["names"]), (&7.into(), &1.into()));
    assert_eq!(sent(&ours), before, "nothing was sent, not even a look-up");
}

#[test]
fn a_plan_says_which_right_is_missing() {
    let (ours, _peer) = pair();
    ours.sh("echo 1 0 > /proc/sys/net/ipv4/ping_group_range");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
    let jobs = [
        "sweep: { targets: 10.99.0.1, method: icmp }",
        "sweep: { targets: 10.99.0.1 }",
        "sweep: { targets: 10.9.0.2, method: arp }",
    ];
    let allowed = plan(&ours, &jobs, &[]);
    assert_eq!((&allowed[0]["permitted"], &allowed[1]["method"]), (&true.into(), &"icmp".into()));
    let refused = plan(&ours, &jobs, &nobody);
    assert_eq!((&refused[0]["permitted"], &refused[1]["method"]), (&false.into(), &"tcp/443".into()));
    assert!(messages(&refused[0]).contains("may not send ICMP"), "{}", messages(&refused[0]));
    assert_eq!(messages(&refused[1]), "");
    assert_eq!((&allowed[2]["permitted"], &refused[2]["permitted"]), (&true.into(), &false.into()));
    assert!(messages(&refused[2]).contains("has no `CAP_NET_RAW`"), "{}", messages(&refused[2]));
    assert!(allowed[1]["open_files_max"].is_null() && refused[1]["open_files_max"].as_u64().unwrap() > 0);
    let near = plan(&ours, &["sweep: { targets: 10.9.0.0/23, edges: include }"], &nobody);
    assert!(
        messages(&near[0]).contains("without CAP_NET_RAW 256 are asked at a time")
            || near[0]["on_link"] == 256
    );
}

#[test]
fn a_plan_says_that_an_interface_is_down() {
    let (ours, _peer) = pair();
    ours.sh("ip link add down0 type veth peer name down1; ip addr add 10.61.0.1/28 dev down0");
    let jobs = ["sweep: { targets: 'iface:down0' }"];
    assert_eq!(messages(&plan(&ours, &jobs, &[])[0]), "interface `down0` is down: nothing goes out there");
    ours.sh("ip link set down0 up");
    assert_eq!(messages(&plan(&ours, &jobs, &[])[0]), "");
}
