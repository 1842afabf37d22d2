// Sends spans by OpenTelemetry's own library for JavaScript: "node otel.mjs MODULES" with {endpoint, trace, parent} on standard input. The environment says
// where to, as it does in a service; standard output says how often each exporter was told that all is well.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const load = createRequire(process.argv[2] + "/");
const { trace, context, SpanKind, SpanStatusCode, TraceFlags } = load("@opentelemetry/api");
const { BasicTracerProvider, SimpleSpanProcessor, BatchSpanProcessor } = load("@opentelemetry/sdk-trace-base");

const ask = JSON.parse(readFileSync(0, "utf8"));
process.env.OTEL_EXPORTER_OTLP_ENDPOINT = ask.endpoint;
process.env.OTEL_SERVICE_NAME = "billing";
process.env.OTEL_TRACES_SAMPLER = "always_on";

const told = {};
for (const [kind, compression] of [["proto", "none"], ["http", "none"], ["proto", "gzip"], ["http", "gzip"]]) {
  const { OTLPTraceExporter } = load("@opentelemetry/exporter-trace-otlp-" + kind);
  const exporter = new OTLPTraceExporter({ compression });
  const name = kind + " " + compression;
  told[name] = 0;
  const send = exporter.export.bind(exporter);
  exporter.export = (spans, done) => send(spans, (r) => { told[name] += r.code === 0 ? 1 : -100; done(r); });
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter), new BatchSpanProcessor(exporter)] });
  const above = trace.setSpanContext(context.active(), { traceId: ask.trace, spanId: ask.parent, traceFlags: TraceFlags.NONE, isRemote: true });
  const span = provider.getTracer("t").startSpan(name, { kind: SpanKind.CLIENT, attributes: { "db.system": "postgresql", n: 7, list: ["a", "b"], on: true, f: 0.5 } }, above);
  span.recordException(new TypeError("no such table"));
  span.setStatus({ code: SpanStatusCode.ERROR, message: "failed" });
  span.end();
  await provider.forceFlush();
  await provider.shutdown();
}
console.log(JSON.stringify(told));
