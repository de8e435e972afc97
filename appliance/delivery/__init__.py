"""What is carried to a site: signed bundles of an image and all that goes with it."""
