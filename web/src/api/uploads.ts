// Apart from clients.ts: only the upload page needs it.
import { createClient } from "@connectrpc/connect";
import { UploadService } from "$lib/gen/segue/upload/v1/upload_pb";
import { transport } from "./clients";

export const uploads = createClient(UploadService, transport);
