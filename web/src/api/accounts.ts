// Apart from clients.ts: only some pages need it.
import { createClient } from "@connectrpc/connect";
import { AccountService } from "$lib/gen/segue/user/v1/user_pb";
import { transport } from "./clients";

export const accounts = createClient(AccountService, transport);
