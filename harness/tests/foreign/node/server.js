// Node's own HTTP server. Without a handler SIGTERM ends the process at once; with the argument
// `close` the handler closes the listener and lets what is in work finish.
const http = require("http");

const server = http.createServer((request, response) => {
  setTimeout(() => response.end("node\n"), request.url === "/slow" ? 100 : 5);
});
// The default of 5 s is shorter than what clients keep, which is another fault than the one shown.
server.keepAliveTimeout = 75000;
if (process.argv[2] === "close") {
  process.on("SIGTERM", () => server.close(() => process.exit(0)));
}
server.listen(Number(process.env.PORT || 8080), process.env.HOST || "0.0.0.0");
