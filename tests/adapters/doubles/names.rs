//! A name server over UDP.

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType},
    serialize::binary::{BinDecodable, BinEncodable},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::net::UdpSocket;

/// Addresses by name with its last dot; a name that is not there gets NXDOMAIN.
#[derive(Clone)]
pub(crate) struct Names {
    pub(crate) at: SocketAddr,
    addresses: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Names {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let names = Self { at: socket.local_addr().unwrap(), addresses: Arc::default() };
        let answering = names.clone();
        tokio::spawn(async move {
            let mut packet = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let _gone = socket.send_to(&answering.answer(&packet[..length]), from).await;
            }
        });
        names
    }

    pub(crate) fn point(&self, name: &str, to: &[&str]) {
        self.addresses.lock().unwrap().insert(format!("{name}."), to.iter().map(ToString::to_string).collect());
    }

    fn answer(&self, packet: &[u8]) -> Vec<u8> {
        let mut message = Message::from_bytes(packet).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.edns = None;
        let query = message.queries[0].clone();
        let name = query.name().to_string().to_lowercase();
        match self.addresses.lock().unwrap().get(&name) {
            None => message.metadata.response_code = ResponseCode::NXDomain,
            Some(values) if query.query_type() == RecordType::A => {
                for value in values {
                    let data = RData::A(value.parse::<std::net::Ipv4Addr>().unwrap().into());
                    message.answers.push(Record::from_rdata(query.name().clone(), 30, data));
                }
            }
            Some(_) => {}
        }
        message.to_bytes().unwrap()
    }
}
