"""nginx with libnginx-mod-rtmp as an origin that is not ours."""
import os

from . import net
from .process import Process

MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so"

_CONFIG = """
daemon off; master_process off; worker_processes 1;
load_module {module};
error_log stderr info;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
rtmp {{
  access_log off;
  server {{
    listen 127.0.0.1:{port}; chunk_size 4096; ping 30s;
    application live {{ live on; wait_key on; wait_video on; idle_streams on; publish_notify on; }}
    application denied {{ live on; deny publish all; }}
    application noplay {{ live on; deny play all; }}
    application hooked {{ live on; {hook} }}
  }}
}}
"""


class Nginx(Process):
    """An nginx-rtmp in the foreground. `hook`: an address that is asked at each publish and play of application `hooked`."""

    def __init__(self, folder, hook=None, port=None):
        self.port = port or net.free_port()
        self.address = f"127.0.0.1:{self.port}"
        os.makedirs(folder, exist_ok=True)
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w") as file:
            file.write(_CONFIG.format(module=MODULE, folder=folder, port=self.port,
                                      hook=f"on_publish http://{hook}/publish; on_play http://{hook}/play;" if hook else ""))
        super().__init__(["nginx", "-c", config, "-p", folder, "-e", "stderr"], "nginx")
        self.await_line("using the \"epoll\"|start worker|Linux")

    @staticmethod
    def available():
        return os.path.exists(MODULE)
