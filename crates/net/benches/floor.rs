//! Prints what handing datagrams to the kernel costs (`cargo bench -p whipstitch-net`).

use whipstitch_net::floor::{Load, measure};

fn main() -> std::io::Result<()> {
    let load = Load::default();
    println!("{} destinations, {} datagrams of {} bytes to each", load.destinations, load.burst, load.size);
    let floor = measure(&load, &mut |_, bytes| bytes.fill(7))?;
    println!("GSO in sendmmsg  {:7.1} ns per datagram", floor.batched.per_datagram());
    println!("sendto           {:7.1} ns per datagram", floor.single.per_datagram());
    Ok(())
}
