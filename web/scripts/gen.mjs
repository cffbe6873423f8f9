// Generates src/gen from ../proto with buf and protoc-gen-es, both from node_modules.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
execFileSync(`${root}/node_modules/.bin/buf`, ["generate", "--template", "buf.gen.yaml"], { cwd: root, stdio: "inherit" });
