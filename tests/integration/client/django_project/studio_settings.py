"""The settings of a small Studio; the last three lines are all that Automation needs."""

import os

SECRET_KEY = "of no use here"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["STUDIO_DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "studio"]
USE_TZ = True
LOGGING = {
    "version": 1,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"automation": {"handlers": ["stderr"], "level": "INFO"}},
}

INSTALLED_APPS += ["automation.client.django"]
AUTOMATION_API_URL = os.environ["AUTOMATION_API_URL"]
AUTOMATION_API_KEY = os.environ["AUTOMATION_API_KEY"]
