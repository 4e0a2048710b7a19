//! TUN devices and the one thread that serves them: packets in, what is to be written, and when. Knows no protocol.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{ErrorKind, Read, Write},
    os::fd::AsFd,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use super::device;
use crate::netns::Namespace;

/// A device in a namespace.
pub(super) struct Device {
    file: File,
    name: String,
}

/// The thread that serves devices; it ends with this.
pub(super) struct Loop {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// When, which in order, through which device, what.
type Due = (Instant, u64, usize, Vec<u8>);

static DEVICES: AtomicU32 = AtomicU32::new(0);
/// The thread sleeps until so long before something is due, and then watches the clock.
const SPIN: Duration = Duration::from_micros(300);
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

impl Device {
    /// Makes one that is up, with these addresses.
    pub(super) fn open(namespace: &Namespace, addresses: &[&str]) -> Self {
        let name = format!("tun{}", DEVICES.fetch_add(1, Ordering::Relaxed));
        let made = name.clone();
        let file = namespace.run(move || device::open(&made)).expect("this test needs /dev/net/tun");
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            namespace.sh(&format!("ip addr add {address} dev {name}{nodad}"));
        }
        namespace.sh(&format!("ip link set dev {name} txqueuelen 20000 up"));
        Self { file, name }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Loop {
    /// Asks `react` for each packet what to write after which time through which device.
    pub(super) fn start(
        devices: Vec<Device>,
        react: impl FnMut(usize, &[u8], Instant) -> Vec<(Duration, usize, Vec<u8>)> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("responder".into());
        let thread = thread.spawn(move || serve(&devices, &stopped, react)).unwrap();
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        // A script that fails says so itself; its test must not pass.
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "the script has failed");
    }
}

fn serve(
    devices: &[Device],
    stopped: &AtomicBool,
    mut react: impl FnMut(usize, &[u8], Instant) -> Vec<(Duration, usize, Vec<u8>)>,
) {
    // A sleep that ends at its time, and not up to 50 µs later.
    let _ = nix::sys::prctl::set_timerslack(1);
    // Before others, where the machine is busy.
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("renice").args(["-n", "-15", "-p", &thread]).output();
    let mut number = 0;
    let mut buffer = vec![0; 65_536];
    let mut due: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    while !stopped.load(Ordering::Relaxed) {
        write_due(devices, &mut due);
        let mut idle = true;
        for (index, device) in devices.iter().enumerate() {
            let Some(length) = read(device, &mut buffer) else { continue };
            idle = false;
            let at = now();
            for (delay, to, packet) in react(index, &buffer[..length], at) {
                number += 1;
                due.push(Reverse((at + delay, number, to, packet)));
            }
        }
        if idle {
            sleep(devices, due.peek().map(|Reverse((at, ..))| *at));
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn read(device: &Device, buffer: &mut [u8]) -> Option<usize> {
    match (&device.file).read(buffer) {
        Ok(length) => Some(length),
        // A device that is down can be up again.
        Err(error) if error.kind() == ErrorKind::WouldBlock || is_down(&error) => None,
        Err(error) => panic!("read {}: {error}", device.name),
    }
}

fn write_due(devices: &[Device], due: &mut BinaryHeap<Reverse<Due>>) {
    let now = now();
    while due.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
        let Some(Reverse((_, _, to, packet))) = due.pop() else { break };
        // What is no IP packet at all is refused by the kernel, and as good as lost.
        match (&devices[to].file).write(&packet) {
            Ok(_) => {}
            Err(error) if is_down(&error) || error.kind() == ErrorKind::InvalidInput => {}
            Err(error) => panic!("write {}: {error}", devices[to].name),
        }
    }
}

fn is_down(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

/// Sleeps until a packet comes or shortly before something is due.
fn sleep(devices: &[Device], due: Option<Instant>) {
    let left = due.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(now()).saturating_sub(SPIN));
    if left.is_zero() {
        return std::hint::spin_loop();
    }
    let mut polled: Vec<_> =
        devices.iter().map(|device| PollFd::new(device.file.as_fd(), PollFlags::POLLIN)).collect();
    // An interrupted sleep is a short one.
    let _ = ppoll(&mut polled, Some(TimeSpec::from(left.min(LONGEST_SLEEP))), None);
}
