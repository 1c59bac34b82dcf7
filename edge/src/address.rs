//! The client's address, from the one place that the configuration names. A client's own headers never count
//! elsewhere.

use crate::boundary::Head;
use crate::config::AddressSource;
use std::net::{IpAddr, SocketAddr};

/// The client's address; `None` when the place does not hold one.
pub(crate) fn client_address(head: &Head, source: AddressSource) -> Option<IpAddr> {
    match source {
        AddressSource::CloudflareHeader => head.headers.get("cf-connecting-ip")?.trim().parse().ok(),
        AddressSource::Peer => read_peer(&head.peer),
        AddressSource::Forwarded(proxies) => from_the_right(head.headers.get("x-forwarded-for")?, proxies),
    }
}

fn read_peer(text: &str) -> Option<IpAddr> {
    text.parse::<SocketAddr>().map(|peer| peer.ip()).or_else(|_| text.parse()).ok()
}

/// The entry that the outermost of `proxies` trusted proxies wrote.
fn from_the_right(list: &str, proxies: usize) -> Option<IpAddr> {
    list.rsplit(',').nth(proxies.checked_sub(1)?)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, address) in [
            ("192.0.2.1:5000", Some("192.0.2.1")),
            ("[2001:db8::1]:5000", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("nonsense", None),
        ] {
            assert_eq!(read_peer(text), address.map(|a| a.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn only_trusted_proxies_entries_count() {
        let list = "6.6.6.6, 192.0.2.1, 198.51.100.7";
        for (proxies, address) in [(1, Some("198.51.100.7")), (2, Some("192.0.2.1")), (0, None), (4, None)] {
            assert_eq!(from_the_right(list, proxies), address.map(|a| a.parse().unwrap()), "{proxies}");
        }
    }
}
