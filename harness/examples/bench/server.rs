//! nginx with a configuration of its own, in a folder of its own, on a port of loopback.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    BenchError, doing,
    tools::{Cores, URGENT},
    wrong,
};

/// How often it is tried to connect, a little apart, before nginx is given up.
const TRIES: u32 = 500;

/// A running nginx; ends with this.
pub(crate) struct Nginx {
    child: Child,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
}

impl Nginx {
    /// Starts it on the server's core.
    pub(crate) fn start(folder: &Path, cores: &Cores) -> Result<Self, BenchError> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(doing("finding a port"))?
            .port();
        let address = format!("127.0.0.1:{port}");
        let config = folder.join("nginx.conf");
        fs::write(&config, configuration(folder, &address)).map_err(doing("writing nginx.conf"))?;
        let child = cores
            .on_server(Command::new("nginx"))
            .arg("-e")
            .arg(folder.join("error.log"))
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(doing("starting nginx (Debian: apt-get install nginx-light)"))?;
        let mut server = Self { child, address };
        server.wait()?;
        Ok(server)
    }

    /// Gives it a real-time priority, or takes it away again, where that may be. Nothing is lost
    /// if that does not work, but time.
    pub(crate) fn be_urgent(&self, cores: &Cores, is_urgent: bool) {
        if cores.is_urgent {
            let priority = if is_urgent { ["-f", URGENT] } else { ["-o", "0"] };
            let id = self.child.id().to_string();
            let _ = Command::new("chrt").arg(priority[0]).args(["-p", priority[1], &id]).status();
        }
    }

    fn wait(&mut self) -> Result<(), BenchError> {
        for _ in 0..TRIES {
            if TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(wrong("starting nginx", format!("it ended: {status}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(wrong("starting nginx", format!("nobody listens on {}", self.address)))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It has no other process, and nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process, no log, a short answer, connections that are never closed.
fn configuration(folder: &Path, address: &str) -> String {
    let folder = folder.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n{temp}  access_log off;\n  \
         keepalive_requests 1000000000;\n  keepalive_timeout 600s;\n  server {{\n    listen {address} backlog=4096;\n    \
         location / {{ return 200 \"ok\\n\"; }}\n  }}\n}}\n"
    )
}
